//! The runtime service of CRI v1 as a trait.

use std::time::Duration;

use async_trait::async_trait;

use crate::Result;
use crate::v1;

/// Sandboxes and containers. All calls are safe to repeat: stopping what is stopped and removing what is gone
/// succeed, as CRI demands.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Name and version of the runtime, as it reports them.
    async fn version(&self) -> Result<v1::VersionResponse>;

    /// Conditions (`RuntimeReady`, `NetworkReady`), handlers and features. `verbose` adds runtime-specific info.
    async fn status(&self, verbose: bool) -> Result<v1::StatusResponse>;

    /// The runtime's own settings (cgroup driver); `Unimplemented` before containerd 2.0.
    async fn runtime_config(&self) -> Result<v1::RuntimeConfigResponse>;

    /// Tells the runtime the pod CIDR of this node.
    async fn update_runtime_config(&self, pod_cidr: &str) -> Result<()>;

    /// Creates and starts a sandbox; an empty handler is the default one. Gives the sandbox's id.
    async fn run_pod_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String>;

    /// Stops the sandbox with all of its containers and releases its network.
    async fn stop_pod_sandbox(&self, id: &str) -> Result<()>;

    /// Removes the sandbox with all of its containers.
    async fn remove_pod_sandbox(&self, id: &str) -> Result<()>;

    /// State, addresses and labels of one sandbox; `NotFound` when it is gone.
    async fn pod_sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus>;

    /// Sandboxes that match; all without a filter.
    async fn list_pod_sandbox(&self, filter: Option<v1::PodSandboxFilter>) -> Result<Vec<v1::PodSandbox>>;

    /// Creates a container in a sandbox; gives the container's id.
    async fn create_container(&self, request: v1::CreateContainerRequest) -> Result<String>;

    /// Starts a created container.
    async fn start_container(&self, id: &str) -> Result<()>;

    /// Stop signal, then SIGKILL after `timeout` (whole seconds); returns when the container has ended.
    async fn stop_container(&self, id: &str, timeout: Duration) -> Result<()>;

    /// Removes a container; a running one is killed.
    async fn remove_container(&self, id: &str) -> Result<()>;

    /// Containers that match; all without a filter.
    async fn list_containers(&self, filter: Option<v1::ContainerFilter>) -> Result<Vec<v1::Container>>;

    /// State, exit code and times of one container; `NotFound` when it is gone.
    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus>;

    /// Changes cgroup limits of a running container.
    async fn update_container_resources(&self, request: v1::UpdateContainerResourcesRequest) -> Result<()>;

    /// Opens the log file anew, after rotation.
    async fn reopen_container_log(&self, id: &str) -> Result<()>;

    /// Runs a command to its end. A zero `timeout` is none; after it, `DeadlineExceeded`.
    async fn exec_sync(&self, id: &str, cmd: Vec<String>, timeout: Duration) -> Result<v1::ExecSyncResponse>;

    /// URL of a streaming endpoint (SPDY) for a command.
    async fn exec(&self, request: v1::ExecRequest) -> Result<String>;

    /// URL of a streaming endpoint (SPDY) for the main process.
    async fn attach(&self, request: v1::AttachRequest) -> Result<String>;

    /// URL of a streaming endpoint (SPDY) for ports of the sandbox.
    async fn port_forward(&self, request: v1::PortForwardRequest) -> Result<String>;

    /// CPU, memory and disk use of one container.
    async fn container_stats(&self, id: &str) -> Result<v1::ContainerStats>;

    /// CPU, memory and disk use of the containers that match.
    async fn list_container_stats(
        &self,
        filter: Option<v1::ContainerStatsFilter>,
    ) -> Result<Vec<v1::ContainerStats>>;

    /// Use of whole pods, network included; `Unimplemented` in some runtimes.
    async fn list_pod_sandbox_stats(
        &self,
        filter: Option<v1::PodSandboxStatsFilter>,
    ) -> Result<Vec<v1::PodSandboxStats>>;
}
