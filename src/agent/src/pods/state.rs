//! What the runtime has for one pod, as its worker knows it.

use copepod_cri::{Runtime, v1};
use jiff::Timestamp;

use crate::spec::labels;

/// A sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Id in the runtime.
    pub id: String,
    /// Number of the sandbox of its pod, from 0.
    pub attempt: u32,
    /// Whether its own process runs.
    pub ready: bool,
    /// Nanoseconds since the epoch.
    pub created_ns: i64,
    /// Addresses, the primary one first.
    pub ips: Vec<String>,
}

/// Whether a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Created and not started.
    Created,
    /// Its process runs.
    Running,
    /// Its process has ended.
    Exited,
    /// The runtime cannot tell.
    Unknown,
}

/// One attempt of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Id in the runtime.
    pub id: String,
    /// Name in the pod.
    pub name: String,
    /// Its sandbox.
    pub sandbox_id: String,
    /// Number of the attempt, from 0.
    pub attempt: u32,
    /// Restarts before this attempt.
    pub restart_count: u32,
    /// Hash of the spec it was made from.
    pub hash: String,
    /// Whether it runs.
    pub state: RunState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Exit code of its process.
    pub exit_code: i32,
    /// One word of why it ended.
    pub reason: String,
    /// More of why: the runtime's words or the termination message.
    pub message: String,
    /// Image as the runtime names it.
    pub image: String,
    /// Reference of the image with its digest.
    pub image_ref: String,
    /// User of its process, where the runtime tells.
    pub user: Option<v1::LinuxContainerUser>,
    /// Log file.
    pub log_path: String,
}

impl Record {
    /// From the runtime's status.
    #[must_use]
    pub fn new(status: v1::ContainerStatus, sandbox_id: &str) -> Self {
        let state = match status.state() {
            v1::ContainerState::ContainerCreated => RunState::Created,
            v1::ContainerState::ContainerRunning => RunState::Running,
            v1::ContainerState::ContainerExited => RunState::Exited,
            v1::ContainerState::ContainerUnknown => RunState::Unknown,
        };
        let metadata = status.metadata.unwrap_or_default();
        let number = |key: &str| status.annotations.get(key).and_then(|v| v.parse().ok());
        let time = |ns: i64| Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            name: status.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or(metadata.name),
            sandbox_id: sandbox_id.to_owned(),
            attempt: metadata.attempt,
            restart_count: number(labels::RESTART_COUNT).unwrap_or(metadata.attempt),
            hash: status.annotations.get(labels::CONTAINER_HASH).cloned().unwrap_or_default(),
            state,
            created_at: time(status.created_at),
            started_at: time(status.started_at),
            finished_at: time(status.finished_at),
            exit_code: status.exit_code,
            reason: status.reason,
            message: status.message,
            image: status
                .image
                .map(|i| if i.user_specified_image.is_empty() { i.image } else { i.user_specified_image })
                .unwrap_or_default(),
            image_ref: status.image_ref,
            user: status.user.and_then(|u| u.linux),
            log_path: status.log_path,
            id: status.id,
        }
    }

    /// Whether the process runs.
    #[must_use]
    pub fn running(&self) -> bool {
        self.state == RunState::Running
    }

    /// Whether the process has ended with success.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.state == RunState::Exited && self.exit_code == 0
    }
}

/// Everything the runtime has for a pod.
#[derive(Debug, Clone, Default)]
pub struct PodState {
    /// Newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Newest first.
    pub records: Vec<Record>,
}

impl PodState {
    /// The newest sandbox.
    #[must_use]
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first()
    }

    /// The newest sandbox if it is ready.
    #[must_use]
    pub fn ready_sandbox(&self) -> Option<&Sandbox> {
        self.sandbox().filter(|s| s.ready)
    }

    /// The newest attempt of a container.
    #[must_use]
    pub fn latest(&self, container: &str) -> Option<&Record> {
        self.records.iter().find(|r| r.name == container)
    }

    /// The attempt before the newest.
    #[must_use]
    pub fn previous(&self, container: &str) -> Option<&Record> {
        self.records.iter().filter(|r| r.name == container).nth(1)
    }

    /// Containers that run, or might.
    pub fn alive(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|r| matches!(r.state, RunState::Running | RunState::Unknown))
    }

    /// Addresses of the ready sandbox.
    #[must_use]
    pub fn ips(&self) -> &[String] {
        self.ready_sandbox().map(|s| s.ips.as_slice()).unwrap_or_default()
    }

    /// Puts a new state of a container in place.
    pub fn put(&mut self, record: Record) {
        match self.records.iter_mut().find(|r| r.id == record.id) {
            Some(old) => *old = record,
            None => {
                self.records.push(record);
                self.sort();
            }
        }
    }

    /// Puts a new state of a sandbox in place.
    pub fn put_sandbox(&mut self, sandbox: Sandbox) {
        match self.sandboxes.iter_mut().find(|s| s.id == sandbox.id) {
            Some(old) => *old = sandbox,
            None => {
                self.sandboxes.push(sandbox);
                self.sort();
            }
        }
    }

    fn sort(&mut self) {
        self.records.sort_by_key(|r| std::cmp::Reverse((r.created_at, r.attempt)));
        self.sandboxes.sort_by_key(|s| std::cmp::Reverse((s.attempt, s.created_ns)));
    }
}

/// Asks the runtime for everything of a pod.
///
/// # Errors
/// When the runtime does not answer.
pub async fn load(runtime: &dyn Runtime, pod_uid: &str) -> copepod_cri::Result<PodState> {
    let sandbox_filter =
        v1::PodSandboxFilter { label_selector: labels::of_pod(pod_uid), ..Default::default() };
    let container_filter =
        v1::ContainerFilter { label_selector: labels::of_pod(pod_uid), ..Default::default() };
    let (sandboxes, containers) = futures::try_join!(
        runtime.list_pod_sandbox(Some(sandbox_filter)),
        runtime.list_containers(Some(container_filter))
    )?;
    let mut state = PodState::default();
    for sandbox in sandboxes {
        if let Some(sandbox) = gone_is_none(load_sandbox(runtime, &sandbox.id).await)? {
            state.put_sandbox(sandbox);
        }
    }
    for container in containers {
        let record = load_record(runtime, &container.id, &container.pod_sandbox_id).await;
        if let Some(record) = gone_is_none(record)? {
            state.put(record);
        }
    }
    Ok(state)
}

fn gone_is_none<T>(result: copepod_cri::Result<T>) -> copepod_cri::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// State of one sandbox.
///
/// # Errors
/// When the runtime does not answer or does not know it.
pub async fn load_sandbox(runtime: &dyn Runtime, id: &str) -> copepod_cri::Result<Sandbox> {
    let status = runtime.pod_sandbox_status(id).await?;
    let ready = status.state() == v1::PodSandboxState::SandboxReady;
    let network = status.network.unwrap_or_default();
    let ips = std::iter::once(network.ip)
        .chain(network.additional_ips.into_iter().map(|ip| ip.ip))
        .filter(|ip| !ip.is_empty())
        .collect();
    Ok(Sandbox {
        id: status.id,
        attempt: status.metadata.map(|m| m.attempt).unwrap_or_default(),
        ready,
        created_ns: status.created_at,
        ips,
    })
}

/// State of one container, with its termination message when it has ended.
///
/// # Errors
/// When the runtime does not answer or does not know it.
pub async fn load_record(runtime: &dyn Runtime, id: &str, sandbox_id: &str) -> copepod_cri::Result<Record> {
    let status = runtime.container_status(id).await?;
    let message = super::termination::message(&status).await;
    let mut record = Record::new(status, sandbox_id);
    if let Some(message) = message {
        record.message = message;
    }
    Ok(record)
}
