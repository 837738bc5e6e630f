//! A runtime in memory, for unit tests of what stands above.
//!
//! It keeps sandboxes, containers and images as a real runtime would, records every call, and can be told to fail or
//! to hold the next call of a method. [`Fake::exit`] ends a container as if its process had.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use copepod_base::clock;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tonic::Code;

use crate::{Error, EventKind, Images, Result, Runtime, RuntimeEvent, v1};

/// The runtime in memory; clones are the same one, and it is both services.
#[derive(Clone, Default)]
pub struct Fake {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    called: Notify,
}

#[derive(Default)]
struct State {
    serial: u64,
    sandboxes: HashMap<String, v1::PodSandboxStatus>,
    containers: HashMap<String, FakeContainer>,
    images: HashMap<String, v1::Image>,
    /// Images a pull can get.
    registry: HashMap<String, v1::Image>,
    calls: Vec<Call>,
    failures: HashMap<&'static str, VecDeque<Error>>,
    held: HashMap<&'static str, VecDeque<oneshot::Receiver<()>>>,
    subscribers: Vec<mpsc::UnboundedSender<RuntimeEvent>>,
    exec_answers: HashMap<String, VecDeque<v1::ExecSyncResponse>>,
    stats: HashMap<String, v1::ContainerStats>,
    pod_cidr: String,
}

/// A container with its sandbox.
#[derive(Debug, Clone)]
pub struct FakeContainer {
    /// The sandbox's id.
    pub sandbox_id: String,
    /// As it was created.
    pub config: v1::ContainerConfig,
    /// As CRI reports it.
    pub status: v1::ContainerStatus,
}

/// A recorded call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Method, as `run_pod_sandbox`.
    pub method: &'static str,
    /// Id or name it was about; empty where there is none.
    pub subject: String,
}

/// Lets a held call go on when dropped or released.
pub struct Hold(Option<oneshot::Sender<()>>);

impl Hold {
    /// Lets the call go on.
    pub fn release(mut self) {
        self.0.take();
    }
}

impl Fake {
    /// A runtime with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Both services, as [`crate::connect`] gives them.
    #[must_use]
    pub fn services(&self) -> (Arc<dyn Runtime>, Arc<dyn Images>) {
        (Arc::new(self.clone()), Arc::new(self.clone()))
    }

    /// Makes an image present.
    pub fn add_image(&self, name: &str) {
        self.inner.state.lock().images.insert(name.to_owned(), image(name));
    }

    /// Makes an image available to pulls.
    pub fn publish_image(&self, name: &str) {
        self.inner.state.lock().registry.insert(name.to_owned(), image(name));
    }

    /// The next call of `method` (as `start_container`, images: `pull_image`) comes back with this error.
    pub fn fail_next(&self, method: &'static str, error: Error) {
        self.inner.state.lock().failures.entry(method).or_default().push_back(error);
    }

    /// The next call of `method` waits until the hold is released; it is recorded before.
    #[must_use]
    pub fn hold_next(&self, method: &'static str) -> Hold {
        let (sender, receiver) = oneshot::channel();
        self.inner.state.lock().held.entry(method).or_default().push_back(receiver);
        Hold(Some(sender))
    }

    /// The next `exec_sync` of this container answers so; without one it succeeds with no output.
    pub fn answer_exec(&self, container_id: &str, answer: v1::ExecSyncResponse) {
        self.inner.state.lock().exec_answers.entry(container_id.to_owned()).or_default().push_back(answer);
    }

    /// What `container_stats` shall give.
    pub fn set_stats(&self, container_id: &str, stats: v1::ContainerStats) {
        self.inner.state.lock().stats.insert(container_id.to_owned(), stats);
    }

    /// Events from now on, beginning with [`EventKind::Lost`] as the real stream.
    #[must_use]
    pub fn events(&self) -> mpsc::Receiver<RuntimeEvent> {
        let (sender, mut queue) = mpsc::unbounded_channel();
        let (out, receiver) = mpsc::channel(256);
        // Sending to the queue just made cannot fail.
        let _ = sender.send(RuntimeEvent::lost());
        self.inner.state.lock().subscribers.push(sender);
        copepod_base::spawn("fake-events", async move {
            while let Some(event) = queue.recv().await {
                if out.send(event).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }

    /// The container's process ends by itself.
    pub fn exit(&self, container_id: &str, exit_code: i32) {
        self.inner.state.lock().end(container_id, exit_code, "");
    }

    /// The container's process is killed for lack of memory.
    pub fn out_of_memory(&self, container_id: &str) {
        let mut state = self.inner.state.lock();
        state.publish(EventKind::OutOfMemory, container_id, None);
        state.end(container_id, 137, "OOMKilled");
    }

    /// The sandbox's own process dies.
    pub fn kill_sandbox(&self, sandbox_id: &str) {
        self.inner.state.lock().stop_sandbox(sandbox_id);
    }

    /// Everything called so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.inner.state.lock().calls.clone()
    }

    /// How often a method was called.
    #[must_use]
    pub fn count(&self, method: &str) -> usize {
        self.inner.state.lock().calls.iter().filter(|call| call.method == method).count()
    }

    /// Returns when `method` has been called `times` times in all.
    pub async fn wait_calls(&self, method: &str, times: usize) {
        loop {
            let called = self.inner.called.notified();
            tokio::pin!(called);
            called.as_mut().enable();
            if self.count(method) >= times {
                return;
            }
            called.await;
        }
    }

    /// The container of this name (as in the pod), the newest attempt; also one that ended.
    #[must_use]
    pub fn container_named(&self, name: &str) -> Option<(String, FakeContainer)> {
        let state = self.inner.state.lock();
        let named = state.containers.iter().filter(|(_, container)| {
            container.status.metadata.as_ref().is_some_and(|metadata| metadata.name == name)
        });
        let newest = named.max_by_key(|(_, container)| container.status.created_at);
        newest.map(|(id, container)| (id.clone(), container.clone()))
    }

    /// Ids of all sandboxes.
    #[must_use]
    pub fn sandbox_ids(&self) -> Vec<String> {
        self.inner.state.lock().sandboxes.keys().cloned().collect()
    }

    /// The pod CIDR last told.
    #[must_use]
    pub fn pod_cidr(&self) -> String {
        self.inner.state.lock().pod_cidr.clone()
    }

    /// Records, then holds or fails as scripted.
    async fn enter(&self, method: &'static str, subject: &str) -> Result<()> {
        let held = {
            let mut state = self.inner.state.lock();
            state.calls.push(Call { method, subject: subject.to_owned() });
            state.held.get_mut(method).and_then(VecDeque::pop_front)
        };
        self.inner.called.notify_waiters();
        if let Some(held) = held {
            // A dropped hold lets go as well.
            let _ = held.await;
        }
        let failure = self.inner.state.lock().failures.get_mut(method).and_then(VecDeque::pop_front);
        failure.map_or(Ok(()), Err)
    }
}

impl State {
    fn next_id(&mut self) -> (String, i64) {
        self.serial += 1;
        // Strictly growing, as ids are told apart by it; the fraction keeps the date right.
        (format!("{:064x}", self.serial), now_nanos() + i64::try_from(self.serial).unwrap_or(0))
    }

    fn publish(&mut self, kind: EventKind, id: &str, exit_code: Option<i32>) {
        let sandbox_id = match self.containers.get(id) {
            Some(container) => Some(container.sandbox_id.clone()),
            None => Some(id.to_owned()),
        };
        let event =
            RuntimeEvent { kind, container_id: id.to_owned(), sandbox_id, exit_code, time: clock::now() };
        self.subscribers.retain(|subscriber| subscriber.send(event.clone()).is_ok());
    }

    fn end(&mut self, id: &str, exit_code: i32, reason: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let status = &mut container.status;
        if status.state() != v1::ContainerState::ContainerRunning {
            return;
        }
        status.set_state(v1::ContainerState::ContainerExited);
        status.exit_code = exit_code;
        status.finished_at = now_nanos();
        status.reason = match (reason, exit_code) {
            ("", 0) => "Completed".to_owned(),
            ("", _) => "Error".to_owned(),
            (reason, _) => reason.to_owned(),
        };
        self.publish(EventKind::Exited, id, Some(exit_code));
    }

    fn stop_sandbox(&mut self, id: &str) {
        for container in self.containers_of(id) {
            self.end(&container, 137, "");
        }
        let Some(sandbox) = self.sandboxes.get_mut(id) else { return };
        if sandbox.state() == v1::PodSandboxState::SandboxReady {
            sandbox.set_state(v1::PodSandboxState::SandboxNotready);
            self.publish(EventKind::Exited, id, Some(0));
        }
    }

    fn containers_of(&self, sandbox: &str) -> Vec<String> {
        let of_it = self.containers.iter().filter(|(_, container)| container.sandbox_id == sandbox);
        of_it.map(|(id, _)| id.clone()).collect()
    }

    fn remove_container(&mut self, id: &str) {
        self.end(id, 137, "");
        if self.containers.contains_key(id) {
            self.publish(EventKind::Deleted, id, None);
            self.containers.remove(id);
        }
    }
}

fn now_nanos() -> i64 {
    let since = clock::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn image(name: &str) -> v1::Image {
    v1::Image {
        id: format!(
            "sha256:{:064x}",
            name.bytes().fold(7u64, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte))
        ),
        repo_tags: vec![name.to_owned()],
        size: 1024,
        ..Default::default()
    }
}

fn not_found(call: &'static str, what: &str) -> Error {
    Error::NotFound { call, message: format!("{what} not found") }
}

fn matches_labels(labels: &HashMap<String, String>, selector: &HashMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[async_trait]
impl Runtime for Fake {
    async fn version(&self) -> Result<v1::VersionResponse> {
        self.enter("version", "").await?;
        Ok(v1::VersionResponse {
            version: "0.1.0".to_owned(),
            runtime_name: "fake".to_owned(),
            runtime_version: "1.0.0".to_owned(),
            runtime_api_version: "v1".to_owned(),
        })
    }

    async fn status(&self, _verbose: bool) -> Result<v1::StatusResponse> {
        self.enter("status", "").await?;
        let condition =
            |name: &str| v1::RuntimeCondition { r#type: name.to_owned(), status: true, ..Default::default() };
        let status =
            v1::RuntimeStatus { conditions: vec![condition("RuntimeReady"), condition("NetworkReady")] };
        Ok(v1::StatusResponse { status: Some(status), ..Default::default() })
    }

    async fn runtime_config(&self) -> Result<v1::RuntimeConfigResponse> {
        self.enter("runtime_config", "").await?;
        Err(Error::Unimplemented { call: "RuntimeConfig" })
    }

    async fn update_runtime_config(&self, pod_cidr: &str) -> Result<()> {
        self.enter("update_runtime_config", pod_cidr).await?;
        self.inner.state.lock().pod_cidr = pod_cidr.to_owned();
        Ok(())
    }

    async fn run_pod_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String> {
        let name = config.metadata.as_ref().map(|metadata| metadata.name.clone()).unwrap_or_default();
        self.enter("run_pod_sandbox", &name).await?;
        let mut state = self.inner.state.lock();
        if state.sandboxes.values().any(|other| other.metadata == config.metadata) {
            let message = format!("sandbox {name} is reserved");
            return Err(Error::AlreadyExists { call: "RunPodSandbox", message });
        }
        let (id, created_at) = state.next_id();
        let network = v1::PodSandboxNetworkStatus {
            ip: format!("10.42.0.{}", state.serial % 250 + 2),
            additional_ips: Vec::new(),
        };
        let status = v1::PodSandboxStatus {
            id: id.clone(),
            metadata: config.metadata,
            created_at,
            network: Some(network),
            labels: config.labels,
            annotations: config.annotations,
            runtime_handler: handler.to_owned(),
            ..Default::default()
        };
        state.sandboxes.insert(id.clone(), status);
        state.publish(EventKind::Created, &id, None);
        state.publish(EventKind::Started, &id, None);
        Ok(id)
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        self.enter("stop_pod_sandbox", id).await?;
        self.inner.state.lock().stop_sandbox(id);
        Ok(())
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        self.enter("remove_pod_sandbox", id).await?;
        let mut state = self.inner.state.lock();
        state.stop_sandbox(id);
        for container in state.containers_of(id) {
            state.remove_container(&container);
        }
        if state.sandboxes.remove(id).is_some() {
            state.publish(EventKind::Deleted, id, None);
        }
        Ok(())
    }

    async fn pod_sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus> {
        self.enter("pod_sandbox_status", id).await?;
        let state = self.inner.state.lock();
        state.sandboxes.get(id).cloned().ok_or_else(|| not_found("PodSandboxStatus", id))
    }

    async fn list_pod_sandbox(&self, filter: Option<v1::PodSandboxFilter>) -> Result<Vec<v1::PodSandbox>> {
        self.enter("list_pod_sandbox", "").await?;
        let filter = filter.unwrap_or_default();
        let state = self.inner.state.lock();
        let chosen = state.sandboxes.values().filter(|sandbox| {
            (filter.id.is_empty() || filter.id == sandbox.id)
                && filter.state.as_ref().is_none_or(|wanted| wanted.state == sandbox.state)
                && matches_labels(&sandbox.labels, &filter.label_selector)
        });
        let listed = chosen.cloned().map(|sandbox| v1::PodSandbox {
            id: sandbox.id,
            metadata: sandbox.metadata,
            state: sandbox.state,
            created_at: sandbox.created_at,
            labels: sandbox.labels,
            annotations: sandbox.annotations,
            runtime_handler: sandbox.runtime_handler,
        });
        Ok(listed.collect())
    }

    async fn create_container(&self, request: v1::CreateContainerRequest) -> Result<String> {
        let config = request.config.unwrap_or_default();
        let name = config.metadata.as_ref().map(|metadata| metadata.name.clone()).unwrap_or_default();
        self.enter("create_container", &name).await?;
        let mut state = self.inner.state.lock();
        let sandbox_id = request.pod_sandbox_id;
        if !state.sandboxes.contains_key(&sandbox_id) {
            return Err(not_found("CreateContainer", &sandbox_id));
        }
        let wanted = config.image.clone().unwrap_or_default();
        let present =
            |image: &&v1::Image| image.id == wanted.image || image.repo_tags.contains(&wanted.image);
        let Some(image) = state.images.values().find(present) else {
            return Err(not_found("CreateContainer", &wanted.image));
        };
        let image_ref = image.id.clone();
        let (id, created_at) = state.next_id();
        let status = v1::ContainerStatus {
            id: id.clone(),
            metadata: config.metadata.clone(),
            state: v1::ContainerState::ContainerCreated.into(),
            created_at,
            image: config.image.clone(),
            image_id: image_ref.clone(),
            image_ref,
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            mounts: config.mounts.clone(),
            log_path: config.log_path.clone(),
            ..Default::default()
        };
        state.containers.insert(id.clone(), FakeContainer { sandbox_id, config, status });
        state.publish(EventKind::Created, &id, None);
        Ok(id)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        self.enter("start_container", id).await?;
        let mut state = self.inner.state.lock();
        let container = state.containers.get_mut(id).ok_or_else(|| not_found("StartContainer", id))?;
        if container.status.state() != v1::ContainerState::ContainerCreated {
            let message = format!("container {id} is in state {}", container.status.state().as_str_name());
            return Err(Error::Other { call: "StartContainer", code: Code::Unknown, message });
        }
        container.status.set_state(v1::ContainerState::ContainerRunning);
        container.status.started_at = now_nanos();
        state.publish(EventKind::Started, id, None);
        Ok(())
    }

    async fn stop_container(&self, id: &str, _timeout: Duration) -> Result<()> {
        self.enter("stop_container", id).await?;
        self.inner.state.lock().end(id, 143, "");
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        self.enter("remove_container", id).await?;
        self.inner.state.lock().remove_container(id);
        Ok(())
    }

    async fn list_containers(&self, filter: Option<v1::ContainerFilter>) -> Result<Vec<v1::Container>> {
        self.enter("list_containers", "").await?;
        let filter = filter.unwrap_or_default();
        let state = self.inner.state.lock();
        let chosen = state.containers.values().filter(|container| {
            let status = &container.status;
            (filter.id.is_empty() || filter.id == status.id)
                && (filter.pod_sandbox_id.is_empty() || filter.pod_sandbox_id == container.sandbox_id)
                && filter.state.as_ref().is_none_or(|wanted| wanted.state == status.state)
                && matches_labels(&status.labels, &filter.label_selector)
        });
        let listed = chosen.cloned().map(|container| v1::Container {
            id: container.status.id,
            pod_sandbox_id: container.sandbox_id,
            metadata: container.status.metadata,
            image: container.status.image,
            image_ref: container.status.image_ref,
            state: container.status.state,
            created_at: container.status.created_at,
            labels: container.status.labels,
            annotations: container.status.annotations,
            image_id: container.status.image_id,
        });
        Ok(listed.collect())
    }

    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus> {
        self.enter("container_status", id).await?;
        let state = self.inner.state.lock();
        let container = state.containers.get(id).ok_or_else(|| not_found("ContainerStatus", id))?;
        Ok(container.status.clone())
    }

    async fn update_container_resources(&self, request: v1::UpdateContainerResourcesRequest) -> Result<()> {
        self.enter("update_container_resources", &request.container_id).await?;
        let mut state = self.inner.state.lock();
        let id = &request.container_id;
        let container =
            state.containers.get_mut(id).ok_or_else(|| not_found("UpdateContainerResources", id))?;
        container.config.linux.get_or_insert_default().resources = request.linux;
        Ok(())
    }

    async fn reopen_container_log(&self, id: &str) -> Result<()> {
        self.enter("reopen_container_log", id).await
    }

    async fn exec_sync(
        &self,
        id: &str,
        _cmd: Vec<String>,
        _timeout: Duration,
    ) -> Result<v1::ExecSyncResponse> {
        self.enter("exec_sync", id).await?;
        let mut state = self.inner.state.lock();
        if !state.containers.contains_key(id) {
            return Err(not_found("ExecSync", id));
        }
        Ok(state.exec_answers.get_mut(id).and_then(VecDeque::pop_front).unwrap_or_default())
    }

    async fn exec(&self, request: v1::ExecRequest) -> Result<String> {
        self.enter("exec", &request.container_id).await?;
        Ok("http://127.0.0.1:1/exec/fake".to_owned())
    }

    async fn attach(&self, request: v1::AttachRequest) -> Result<String> {
        self.enter("attach", &request.container_id).await?;
        Ok("http://127.0.0.1:1/attach/fake".to_owned())
    }

    async fn port_forward(&self, request: v1::PortForwardRequest) -> Result<String> {
        self.enter("port_forward", &request.pod_sandbox_id).await?;
        Ok("http://127.0.0.1:1/portforward/fake".to_owned())
    }

    async fn container_stats(&self, id: &str) -> Result<v1::ContainerStats> {
        self.enter("container_stats", id).await?;
        let state = self.inner.state.lock();
        state.stats.get(id).cloned().ok_or_else(|| not_found("ContainerStats", id))
    }

    async fn list_container_stats(
        &self,
        _filter: Option<v1::ContainerStatsFilter>,
    ) -> Result<Vec<v1::ContainerStats>> {
        self.enter("list_container_stats", "").await?;
        Ok(self.inner.state.lock().stats.values().cloned().collect())
    }

    async fn list_pod_sandbox_stats(
        &self,
        _filter: Option<v1::PodSandboxStatsFilter>,
    ) -> Result<Vec<v1::PodSandboxStats>> {
        self.enter("list_pod_sandbox_stats", "").await?;
        Err(Error::Unimplemented { call: "ListPodSandboxStats" })
    }
}

#[async_trait]
impl Images for Fake {
    async fn pull(
        &self,
        image: &str,
        _auth: Option<v1::AuthConfig>,
        _sandbox: Option<v1::PodSandboxConfig>,
    ) -> Result<String> {
        self.enter("pull_image", image).await?;
        let mut state = self.inner.state.lock();
        let found = state.registry.get(image).cloned().ok_or_else(|| not_found("PullImage", image))?;
        let id = found.id.clone();
        state.images.insert(image.to_owned(), found);
        Ok(id)
    }

    async fn list(&self, name: Option<&str>) -> Result<Vec<v1::Image>> {
        self.enter("list_images", name.unwrap_or_default()).await?;
        let state = self.inner.state.lock();
        let chosen = state.images.iter().filter(|(key, _)| name.is_none_or(|name| name == key.as_str()));
        Ok(chosen.map(|(_, image)| image.clone()).collect())
    }

    async fn status(&self, image: &str) -> Result<Option<v1::Image>> {
        self.enter("image_status", image).await?;
        let state = self.inner.state.lock();
        let found = state.images.values().find(|found| {
            found.id == image || found.repo_tags.iter().chain(&found.repo_digests).any(|name| name == image)
        });
        Ok(found.cloned())
    }

    async fn remove(&self, image: &str) -> Result<()> {
        self.enter("remove_image", image).await?;
        self.inner.state.lock().images.retain(|name, found| name != image && found.id != image);
        Ok(())
    }

    async fn fs_info(&self) -> Result<v1::ImageFsInfoResponse> {
        self.enter("image_fs_info", "").await?;
        Ok(v1::ImageFsInfoResponse::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scripted_exit_is_seen_in_the_events_and_the_status() {
        let fake = Fake::new();
        fake.add_image("a:1");
        let mut events = fake.events();
        let sandbox = fake.run_pod_sandbox(v1::PodSandboxConfig::default(), "").await.unwrap();
        let image = Some(v1::ImageSpec { image: "a:1".to_owned(), ..Default::default() });
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.clone(),
            config: Some(v1::ContainerConfig { image, ..Default::default() }),
            sandbox_config: None,
        };
        let id = fake.create_container(request).await.unwrap();
        fake.start_container(&id).await.unwrap();
        fake.exit(&id, 3);
        let mut kinds = Vec::new();
        while kinds.last() != Some(&EventKind::Exited) {
            kinds.push(events.recv().await.unwrap().kind);
        }
        assert_eq!(kinds[0], EventKind::Lost);
        assert_eq!(fake.container_status(&id).await.unwrap().exit_code, 3);
    }

    #[tokio::test]
    async fn a_held_call_is_recorded_and_waits_and_a_failure_hits_only_the_next_call() {
        let fake = Fake::new();
        let hold = fake.hold_next("stop_pod_sandbox");
        let other = fake.clone();
        let call = tokio::spawn(async move { other.stop_pod_sandbox("x").await });
        fake.wait_calls("stop_pod_sandbox", 1).await;
        assert!(!call.is_finished());
        hold.release();
        call.await.unwrap().unwrap();
        fake.fail_next("stop_pod_sandbox", Error::Unimplemented { call: "StopPodSandbox" });
        assert!(fake.stop_pod_sandbox("x").await.is_err());
        assert!(fake.stop_pod_sandbox("x").await.is_ok());
    }
}
