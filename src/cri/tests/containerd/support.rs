//! A private containerd in a temporary folder, gone with everything it started when dropped.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use copepod_base::Shutdown;
use copepod_cri::containerd::{Config, Supervisor};
use copepod_cri::import::Importer;
use copepod_cri::{EventKind, Images, Runtime, RuntimeEvent, v1};
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

/// The sandbox's image and the one of test containers: both busybox.
pub const PAUSE: &str = "copepod.test/pause:1";
pub const BUSYBOX: &str = "copepod.test/busybox:1";

/// No step of a test takes longer on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Processes, mounts and folders of one test.
pub struct Sandbox {
    pub folder: PathBuf,
    pub config: Config,
    pub shutdown: Shutdown,
    cgroup: String,
}

impl Sandbox {
    pub fn new() -> Self {
        // Short: a socket's path has 107 bytes.
        let id = format!("{:08x}", fastrand::u32(..));
        let folder = PathBuf::from(format!("/tmp/cri-{id}"));
        fs::create_dir(&folder).unwrap();
        let mut config = Config::new(&folder.join("agent"), &folder.join("run"), PAUSE);
        config.oom_score = 0;
        Self { folder, config, shutdown: Shutdown::new(), cgroup: format!("/copepod-test-{id}") }
    }

    pub async fn start(&self) -> Supervisor {
        Supervisor::start(self.config.clone(), &self.shutdown).await.unwrap()
    }

    /// Starts containerd, imports the test image and connects.
    pub async fn ready(&self) -> (Supervisor, Arc<dyn Runtime>, Arc<dyn Images>) {
        let supervisor = self.start().await;
        let importer = Importer::new(&supervisor.endpoint()).unwrap();
        let archive = oci_archive(&[PAUSE, BUSYBOX], Layer::Gzip);
        importer.import(std::io::Cursor::new(archive)).await.unwrap();
        let (runtime, images) = copepod_cri::connect(&supervisor.endpoint()).unwrap();
        (supervisor, runtime, images)
    }

    pub fn sandbox_config(&self, name: &str) -> v1::PodSandboxConfig {
        let namespaces = v1::NamespaceOption {
            network: v1::NamespaceMode::Node.into(),
            pid: v1::NamespaceMode::Container.into(),
            ..Default::default()
        };
        v1::PodSandboxConfig {
            metadata: Some(v1::PodSandboxMetadata {
                name: name.to_owned(),
                uid: format!("uid-{name}"),
                namespace: "default".to_owned(),
                attempt: 0,
            }),
            log_directory: self.folder.join("logs").to_string_lossy().into_owned(),
            labels: HashMap::from([("app".to_owned(), name.to_owned())]),
            linux: Some(v1::LinuxPodSandboxConfig {
                cgroup_parent: self.cgroup.clone(),
                security_context: Some(v1::LinuxSandboxSecurityContext {
                    namespace_options: Some(namespaces),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// Runs a sandbox and in it a container with this shell script.
    pub async fn run(&self, runtime: &dyn Runtime, name: &str, script: &str) -> (String, String) {
        self.run_limited(runtime, name, script, 0).await
    }

    pub async fn run_limited(
        &self,
        runtime: &dyn Runtime,
        name: &str,
        script: &str,
        memory: i64,
    ) -> (String, String) {
        let config = self.sandbox_config(name);
        let sandbox = runtime.run_pod_sandbox(config.clone(), "").await.unwrap();
        let namespaces = config.linux.as_ref().unwrap().security_context.as_ref().unwrap();
        let container = v1::ContainerConfig {
            metadata: Some(v1::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
            image: Some(v1::ImageSpec { image: BUSYBOX.to_owned(), ..Default::default() }),
            command: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()],
            log_path: format!("{name}.log"),
            linux: Some(v1::LinuxContainerConfig {
                resources: Some(v1::LinuxContainerResources {
                    memory_limit_in_bytes: memory,
                    ..Default::default()
                }),
                security_context: Some(v1::LinuxContainerSecurityContext {
                    namespace_options: namespaces.namespace_options.clone(),
                    ..Default::default()
                }),
            }),
            ..Default::default()
        };
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.clone(),
            config: Some(container),
            sandbox_config: Some(config),
        };
        let id = runtime.create_container(request).await.unwrap();
        runtime.start_container(&id).await.unwrap();
        (sandbox, id)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.shutdown.cancel();
        // Everything of this test has its folder in its command line or its cgroup's name.
        let state = self.folder.to_string_lossy().into_owned();
        for round in 0..2 {
            for pid in processes_naming(&state).into_iter().chain(processes_in(&self.cgroup)) {
                let _ = kill_process(pid, Signal::KILL);
            }
            if round == 0 {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        for target in mounts_under(&self.folder) {
            let _ = nix::mount::umount2(&target, nix::mount::MntFlags::MNT_DETACH);
        }
        remove_cgroups(&self.cgroup);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn all_processes() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Pid::from_raw).collect()
}

fn processes_naming(text: &str) -> Vec<Pid> {
    let names = |pid: &Pid| {
        let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
        // Only containerd and its shims: not an editor or shell that happens to name the folder.
        String::from_utf8_lossy(first).contains("containerd") && String::from_utf8_lossy(&line).contains(text)
    };
    all_processes().into_iter().filter(names).collect()
}

fn processes_in(cgroup: &str) -> Vec<Pid> {
    let inside = |pid: &Pid| {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero())).unwrap_or_default();
        text.lines().any(|line| line.contains(cgroup))
    };
    all_processes().into_iter().filter(inside).collect()
}

fn mounts_under(folder: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let targets = text.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut targets: Vec<PathBuf> = targets.filter(|target| target.starts_with(folder)).collect();
    targets.reverse();
    targets
}

fn remove_cgroups(name: &str) {
    fn remove(folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path());
            }
        }
        let _ = fs::remove_dir(folder);
    }
    let name = name.trim_start_matches('/');
    remove(&Path::new("/sys/fs/cgroup").join(name));
    for entry in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        remove(&entry.path().join(name));
    }
}

/// The next event of this kind about this container or sandbox.
pub async fn wait_for(events: &mut mpsc::Receiver<RuntimeEvent>, kind: EventKind, id: &str) -> RuntimeEvent {
    let wait = async {
        loop {
            let event = events.recv().await.expect("the stream goes on");
            if event.kind == kind && event.container_id == id {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the event comes")
}

/// How the layer is stored.
#[derive(Clone, Copy)]
pub enum Layer {
    Plain,
    Gzip,
}

fn sha(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A root file system: busybox as /bin/sh and a few applets.
pub fn layer() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let busybox = fs::read("/bin/busybox").expect("busybox-static is installed");
    let folder = |tar: &mut tar::Builder<Vec<u8>>, name: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        tar.append_data(&mut header, name, std::io::empty()).unwrap();
    };
    for name in ["bin/", "tmp/", "proc/", "dev/", "sys/", "etc/"] {
        folder(&mut tar, name);
    }
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(busybox.len() as u64);
    tar.append_data(&mut header, "bin/busybox", busybox.as_slice()).unwrap();
    for applet in ["sh", "sleep", "cat", "echo", "true", "head", "tail", "dd", "kill"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    tar.into_inner().unwrap()
}

/// Differs by name: images with the same config are one image to the runtime, and are removed as one.
fn config_json(layer: &[u8], name: &str) -> Vec<u8> {
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    serde_json::to_vec(&serde_json::json!({
        "architecture": architecture, "os": "linux",
        "config": {"Cmd": ["/bin/sleep", "1000000"], "Env": ["PATH=/bin", format!("IMAGE={name}")]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha(layer))]},
    }))
    .unwrap()
}

fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, name, bytes).unwrap();
}

/// An OCI layout with one image under several names.
pub fn oci_archive(names: &[&str], how: Layer) -> Vec<u8> {
    let plain = layer();
    let config = config_json(&plain, names.first().unwrap_or(&""));
    let (layer, kind) = match how {
        Layer::Plain => (plain, "application/vnd.oci.image.layer.v1.tar"),
        Layer::Gzip => (gzip(&plain), "application/vnd.oci.image.layer.v1.tar+gzip"),
    };
    let descriptor = |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": kind, "digest": format!("sha256:{}", sha(bytes)), "size": bytes.len()});
    let manifest = serde_json::to_vec(&serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor(kind, &layer)],
    }))
    .unwrap();
    let entries: Vec<_> = names
        .iter()
        .map(|name| {
            let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
            entry["annotations"] = serde_json::json!({"io.containerd.image.name": name});
            entry
        })
        .collect();
    let index = serde_json::to_vec(&serde_json::json!({"schemaVersion": 2, "manifests": entries})).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}");
    append(&mut tar, "index.json", &index);
    for blob in [&config, &manifest, &layer] {
        append(&mut tar, &format!("blobs/sha256/{}", sha(blob)), blob);
    }
    tar.into_inner().unwrap()
}

/// What `docker save` wrote before it knew OCI layouts.
pub fn docker_archive(name: &str) -> Vec<u8> {
    let layer = layer();
    let config = config_json(&layer, name);
    let config_name = format!("{}.json", sha(&config));
    let manifest = serde_json::to_vec(&serde_json::json!([
        {"Config": config_name, "RepoTags": [name], "Layers": ["abc/layer.tar"]}
    ]))
    .unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "abc/VERSION", b"1.0");
    append(&mut tar, "abc/json", b"{}");
    append(&mut tar, "abc/layer.tar", &layer);
    append(&mut tar, &config_name, &config);
    append(&mut tar, "manifest.json", &manifest);
    tar.into_inner().unwrap()
}
