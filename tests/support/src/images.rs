//! The images that test pods run, made from what the machine has: no registry, no container tool.

use crate::oci::{Entry, Image, architecture};
use std::path::Path;
use std::process::Command;
use std::{fs, io};

/// busybox with all its applets.
pub const BUSYBOX: &str = "copepod.io/test/busybox:1";
/// The project's own test server (`tests/testserver`), beside busybox; its entry point is `/testserver`.
pub const SERVER: &str = "copepod.io/test/server:1";

/// Files of the archives in [`directory`].
pub const ARCHIVES: [&str; 2] = ["busybox.tar", "server.tar"];

/// Where `images/build` leaves the archives.
#[must_use]
pub fn directory() -> std::path::PathBuf {
    crate::workspace().join("target/images")
}

/// Archive of [`BUSYBOX`], made from a statically linked busybox.
///
/// # Errors
/// When the program cannot be read or does not run.
pub fn busybox(program: &Path) -> io::Result<Vec<u8>> {
    Image {
        name: BUSYBOX.into(),
        architecture: architecture(std::env::consts::ARCH).into(),
        cmd: vec!["sh".into()],
        env: vec!["PATH=/usr/local/bin:/bin".into()],
        entries: busybox_root(program)?,
        ..Image::default()
    }
    .pack()
}

/// Archive of [`SERVER`], made from the built test server and busybox.
///
/// # Errors
/// When a program cannot be read or busybox does not run.
pub fn server(program: &Path, busybox: &Path) -> io::Result<Vec<u8>> {
    let mut entries = busybox_root(busybox)?;
    entries.push(Entry::File("/testserver".into(), 0o755, fs::read(program)?));
    Image {
        name: SERVER.into(),
        architecture: architecture(std::env::consts::ARCH).into(),
        entrypoint: vec!["/testserver".into()],
        cmd: vec!["serve".into()],
        env: vec!["PATH=/bin".into(), "FROM_IMAGE=yes".into()],
        working_dir: "/work".into(),
        entries,
        ..Image::default()
    }
    .pack()
}

fn busybox_root(program: &Path) -> io::Result<Vec<Entry>> {
    let listing = Command::new(program).arg("--list").output()?;
    let mut entries: Vec<Entry> =
        ["/bin", "/etc", "/root", "/work"].map(|path| Entry::Dir(path.into(), 0o755)).into();
    entries.push(Entry::Dir("/tmp".into(), 0o1777));
    let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
    let group = "root:x:0:\nnobody:x:65534:\n";
    entries.push(Entry::File("/etc/passwd".into(), 0o644, passwd.into()));
    entries.push(Entry::File("/etc/group".into(), 0o644, group.into()));
    entries.push(Entry::File("/bin/busybox".into(), 0o755, fs::read(program)?));
    let applets = String::from_utf8_lossy(&listing.stdout).into_owned();
    entries.extend(
        applets
            .lines()
            .filter(|applet| *applet != "busybox")
            .map(|applet| Entry::Symlink(format!("/bin/{applet}"), "busybox".into())),
    );
    Ok(entries)
}
