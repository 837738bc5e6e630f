//! The same pod by CRI calls alone: what containerd, runc and the network plugin cost without Kubernetes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use copepod_base::clock;
use copepod_cri::{Images, Runtime, v1};

use super::{COMMAND, IMAGE, NAMESPACE};
use crate::error::{Result, io, wrong};
use crate::server::{RUNTIME, eventually};

/// Paths that containers must not see or change, as Kubernetes' default procMount has them.
const MASKED: [&str; 5] = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A client of the runtime.
pub(crate) struct Bare {
    runtime: Arc<dyn Runtime>,
    images: Arc<dyn Images>,
    image: String,
    folder: PathBuf,
}

impl Bare {
    /// Connects and waits until the test image is there.
    pub(crate) async fn new(folder: &Path) -> Result<Self> {
        let (runtime, images) = copepod_cri::connect(RUNTIME)?;
        eventually("the test image is imported", async || Ok(images.status(IMAGE).await?.is_some())).await?;
        let image = images.status(IMAGE).await?.ok_or_else(|| wrong(IMAGE, "has gone"))?.id;
        let folder = folder.join("bare");
        std::fs::create_dir_all(&folder).map_err(io(format!("create {}", folder.display())))?;
        Ok(Self { runtime, images, image, folder })
    }

    /// Runs one pod; gives its sandbox and the time that the calls took.
    pub(crate) async fn run(&self, name: &str) -> Result<(String, Duration)> {
        let files = Files::create(&self.folder.join(name))?;
        let begin = clock::instant();
        // A kubelet asks for the image before each container.
        let sandbox_config = self.sandbox(name, &files);
        let sandbox = self.runtime.run_pod_sandbox(sandbox_config.clone(), "").await?;
        if self.images.status(IMAGE).await?.is_none() {
            return Err(wrong(IMAGE, "has gone"));
        }
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.clone(),
            config: Some(self.container(&files)),
            sandbox_config: Some(sandbox_config),
        };
        let container = self.runtime.create_container(request).await?;
        self.runtime.start_container(&container).await?;
        Ok((sandbox, begin.elapsed()))
    }

    /// Runs these pods at once; gives their sandboxes and the time until the last had started.
    pub(crate) async fn run_all(&self, names: &[String]) -> Result<(Vec<String>, Duration)> {
        let begin = clock::instant();
        let made = futures::future::try_join_all(names.iter().map(|name| self.run(name))).await?;
        Ok((made.into_iter().map(|(sandbox, _)| sandbox).collect(), begin.elapsed()))
    }

    /// Stops and removes sandboxes.
    pub(crate) async fn remove(&self, sandboxes: &[String]) -> Result<()> {
        let removing = sandboxes.iter().map(|sandbox| async move {
            self.runtime.stop_pod_sandbox(sandbox).await?;
            self.runtime.remove_pod_sandbox(sandbox).await
        });
        futures::future::try_join_all(removing).await?;
        Ok(())
    }

    /// Waits until the runtime has no sandbox: nothing of an earlier round goes on.
    pub(crate) async fn empty(&self) -> Result<()> {
        eventually("no pod is left in the runtime", async || {
            Ok(self.runtime.list_pod_sandbox(None).await?.is_empty())
        })
        .await
    }

    /// Ids of the running containers, sorted.
    pub(crate) async fn running(&self) -> Result<Vec<String>> {
        let state = v1::ContainerStateValue { state: v1::ContainerState::ContainerRunning.into() };
        let filter = v1::ContainerFilter { state: Some(state), ..Default::default() };
        let found = self.runtime.list_containers(Some(filter)).await?;
        let mut ids: Vec<String> = found.into_iter().map(|container| container.id).collect();
        ids.sort();
        Ok(ids)
    }

    fn sandbox(&self, name: &str, files: &Files) -> v1::PodSandboxConfig {
        let profile = v1::security_profile::ProfileType::RuntimeDefault;
        v1::PodSandboxConfig {
            metadata: Some(v1::PodSandboxMetadata {
                name: name.to_owned(),
                uid: name.to_owned(),
                namespace: NAMESPACE.to_owned(),
                attempt: 0,
            }),
            hostname: name.to_owned(),
            log_directory: files.logs.to_string_lossy().into_owned(),
            dns_config: Some(v1::DnsConfig {
                servers: vec!["10.43.0.10".to_owned()],
                searches: ["bench.svc.cluster.local", "svc.cluster.local", "cluster.local"]
                    .map(str::to_owned)
                    .into(),
                options: vec!["ndots:5".to_owned()],
            }),
            linux: Some(v1::LinuxPodSandboxConfig {
                cgroup_parent: format!("/kubepods/besteffort/pod{name}"),
                security_context: Some(v1::LinuxSandboxSecurityContext {
                    namespace_options: Some(namespaces()),
                    seccomp: Some(v1::SecurityProfile { profile_type: profile.into(), ..Default::default() }),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn container(&self, files: &Files) -> v1::ContainerConfig {
        let profile = v1::security_profile::ProfileType::Unconfined;
        v1::ContainerConfig {
            metadata: Some(v1::ContainerMetadata { name: "main".to_owned(), attempt: 0 }),
            image: Some(v1::ImageSpec {
                image: self.image.clone(),
                user_specified_image: IMAGE.to_owned(),
                ..Default::default()
            }),
            command: COMMAND.map(str::to_owned).into(),
            labels: HashMap::from([("bench".to_owned(), "bare".to_owned())]),
            log_path: "main.log".to_owned(),
            mounts: files.mounts(),
            linux: Some(v1::LinuxContainerConfig {
                resources: Some(v1::LinuxContainerResources {
                    cpu_shares: 2,
                    oom_score_adj: 1000,
                    ..Default::default()
                }),
                security_context: Some(v1::LinuxContainerSecurityContext {
                    namespace_options: Some(namespaces()),
                    seccomp: Some(v1::SecurityProfile { profile_type: profile.into(), ..Default::default() }),
                    masked_paths: MASKED.map(str::to_owned).into(),
                    readonly_paths: READ_ONLY.map(str::to_owned).into(),
                    ..Default::default()
                }),
            }),
            ..Default::default()
        }
    }
}

/// Namespaces of a pod of its own.
fn namespaces() -> v1::NamespaceOption {
    v1::NamespaceOption {
        network: v1::NamespaceMode::Pod.into(),
        ipc: v1::NamespaceMode::Pod.into(),
        pid: v1::NamespaceMode::Container.into(),
        ..Default::default()
    }
}

/// What a kubelet mounts into every container.
struct Files {
    logs: PathBuf,
    account: PathBuf,
    hosts: PathBuf,
    message: PathBuf,
}

impl Files {
    fn create(folder: &Path) -> Result<Self> {
        let files = Self {
            logs: folder.join("logs"),
            account: folder.join("account"),
            hosts: folder.join("hosts"),
            message: folder.join("message"),
        };
        for folder in [&files.logs, &files.account] {
            std::fs::create_dir_all(folder).map_err(io(format!("create {}", folder.display())))?;
        }
        for file in [&files.hosts, &files.message] {
            std::fs::write(file, "").map_err(io(format!("write {}", file.display())))?;
        }
        Ok(files)
    }

    fn mounts(&self) -> Vec<v1::Mount> {
        let mount = |host: &Path, container: &str, readonly| v1::Mount {
            container_path: container.to_owned(),
            host_path: host.to_string_lossy().into_owned(),
            readonly,
            ..Default::default()
        };
        vec![
            mount(&self.account, "/var/run/secrets/kubernetes.io/serviceaccount", true),
            mount(&self.hosts, "/etc/hosts", false),
            mount(&self.message, "/dev/termination-log", false),
        ]
    }
}
