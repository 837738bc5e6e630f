//! Starts that cannot succeed: one line that names the thing and the way out, and nothing overwritten.

use crate::shared::SOON;
use copepod_test_support::{Builder, Cluster, Finished, Running, StartFailure, executable};
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

fn builder() -> Builder {
    Cluster::builder().without_agent()
}

/// The start ended by itself, not well, and its last line contains all of `words`.
#[track_caller]
fn refused(failure: Result<impl Sized, StartFailure>, words: &[&str]) {
    let Err(failure) = failure else { panic!("it started") };
    let status = failure.status.unwrap_or_else(|| panic!("it neither started nor ended: {}", failure.output));
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {}", failure.output);
    let last = failure.output.lines().last().unwrap_or_default();
    for word in words {
        assert!(last.contains(word), "{word:?} is missing in the last line of\n{}", failure.output);
    }
    assert!(!failure.output.contains("panicked"), "{}", failure.output);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let mut cluster = builder().prepare();
    let mut other =
        Running::start(cluster.sandbox().command("sh").args(["-c", "echo up; exec busybox nc -l -p 6443"]));
    other.line(SOON, "up");
    copepod_test_support::until("the port is taken", SOON, || {
        cluster.sandbox().shell("ss -Hltn sport = :6443").stdout.contains("6443")
    });
    refused(cluster.try_launch(), &["6443", "--https-listen-port"]);
}

#[test]
fn only_root_may_run_it() {
    let cluster = builder().prepare();
    let binary = cluster.sandbox().folder().join("copepod");
    fs::copy(executable(), &binary).expect("writable");
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("ours");
    let mut command = cluster.sandbox().command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary).arg("server");
    let done = Finished::of(&mut command, b"");
    assert!(done.status.code().is_some_and(|code| code != 0), "{done}");
    assert!(done.stderr.contains("root") || done.stdout.contains("root"), "{done}");
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() {
    let mut cluster = builder().prepare();
    let data = cluster.data_dir();
    // In the mount namespace of the sandbox only.
    cluster.sandbox().shell(&format!("mount -t tmpfs -o ro tmpfs {}", data.display())).ok();
    let name = data.display().to_string();
    refused(cluster.try_launch(), &[&name, "--data-dir"]);
}

fn database(cluster: &Cluster) -> PathBuf {
    let folder = cluster.data_dir().join("server/db");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| fs::read(path).is_ok_and(|content| content.starts_with(b"SQLite format 3\0")))
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

fn all_files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let listed = Finished::of(
        std::process::Command::new("find").arg(folder).args(["-type", "f", "!", "-name", "*.log"]),
        b"",
    )
    .ok();
    let mut files: Vec<_> =
        listed.lines().map(|path| (PathBuf::from(path), fs::read(path).unwrap_or_default())).collect();
    files.sort();
    files
}

#[track_caller]
fn unchanged(before: &[(PathBuf, Vec<u8>)], after: &[(PathBuf, Vec<u8>)]) {
    let sizes = |files: &[(PathBuf, Vec<u8>)]| -> Vec<(PathBuf, usize)> {
        files.iter().map(|(path, content)| (path.clone(), content.len())).collect()
    };
    // SQLite adds files of its own beside, and empties none.
    let after: Vec<_> =
        after.iter().filter(|(path, _)| before.iter().any(|(old, _)| old == path)).cloned().collect();
    assert_eq!(sizes(&after), sizes(before));
    assert!(after == before, "the content of a file was changed");
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let mut cluster = builder().start();
    cluster.stop();
    let database = database(&cluster);
    // SQLite keeps the application's schema version in four bytes of the file's header.
    let file = fs::File::options().write(true).open(&database).expect("ours");
    file.write_all_at(&9_999_u32.to_be_bytes(), 60).expect("writable");
    drop(file);
    let before = all_files(&cluster.data_dir().join("server/db"));
    refused(cluster.try_launch(), &[&database.display().to_string(), "newer"]);
    unchanged(&before, &all_files(&cluster.data_dir().join("server/db")));
}

#[test]
fn a_damaged_database_is_left_alone() {
    let mut cluster = builder().start();
    for number in 0..20 {
        cluster.kubectl().ok(&["create", "configmap", &format!("c{number}"), "--from-literal=a=b"]);
    }
    cluster.stop();
    let database = database(&cluster);
    let size = fs::metadata(&database).expect("it exists").len();
    let file = fs::File::options().write(true).open(&database).expect("ours");
    // All but the header.
    let noise: Vec<u8> = (0..size - 100).map(|byte| (byte % 251) as u8).collect();
    file.write_all_at(&noise, 100).expect("writable");
    drop(file);
    let before = all_files(&cluster.data_dir().join("server/db"));
    refused(cluster.try_launch(), &[&database.display().to_string(), "damaged"]);
    unchanged(&before, &all_files(&cluster.data_dir().join("server/db")));
}

#[test]
fn a_missing_or_old_containerd_is_named() {
    let start = |script: Option<&str>| {
        let builder = Cluster::builder().without_images();
        let folder = Shared::new();
        if let Some(script) = script {
            let fake = folder.0.join("containerd");
            fs::write(&fake, script).expect("writable");
            fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).expect("ours");
        }
        let result = builder.env("PATH", &folder.0.display().to_string()).try_start();
        drop(folder);
        result
    };
    refused(start(None), &["containerd", "install"]);
    refused(
        start(Some("#!/bin/sh\necho containerd github.com/containerd/containerd 1.2.13 abc\n")),
        &["containerd", "1.2.13", "1.6"],
    );
}

/// A folder that every sandbox sees; gone when dropped.
struct Shared(PathBuf);

impl Shared {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("cpd-path-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("writable");
        Self(folder)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn wrong_settings_are_explained() {
    for (arg, words) in [
        ("--cluster-cidr=nonsense", vec!["cluster-cidr", "nonsense"]),
        ("--service-cidr=10.42.0.0/16", vec!["service-cidr", "cluster-cidr"]),
        ("--write-kubeconfig-mode=999", vec!["write-kubeconfig-mode", "999"]),
        ("--node-name=Not_A_Name", vec!["--node-name", "not_a_name"]),
    ] {
        refused(Cluster::builder().without_images().arg(arg).try_start(), &words);
    }
    refused(builder().config("cluster-cidr: [").try_start(), &["config.yaml"]);
    let unknown =
        Finished::of(std::process::Command::new(executable()).args(["server", "--no-such-flag"]), b"");
    assert!(!unknown.status.success() && unknown.stderr.contains("--no-such-flag"), "{unknown}");
}
