//! Both services over a unix socket.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Response, Status};

use crate::v1::image_service_client::ImageServiceClient;
use crate::v1::runtime_service_client::RuntimeServiceClient;
use crate::{Error, Images, Result, Runtime, v1};

/// Most calls; what the kubelet calls `--runtime-request-timeout`.
pub const CALL_DEADLINE: Duration = Duration::from_secs(120);
/// Creating or stopping a sandbox may wait for the network plugin.
pub const SANDBOX_DEADLINE: Duration = Duration::from_secs(240);
/// Calls that only read the runtime's memory.
pub const QUERY_DEADLINE: Duration = Duration::from_secs(30);
/// Added to a caller's own timeout, for the work around it.
pub const GRACE: Duration = Duration::from_secs(10);
/// Largest message in either direction, as containerd's own default.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Connects to `unix:///path/to.sock` (or an absolute path).
///
/// The connection is made with the first call and made anew after it broke, so this succeeds while the runtime is
/// still starting. Must be called within a tokio runtime.
///
/// # Errors
/// [`Error::Endpoint`] when the endpoint is not a unix socket.
pub fn connect(endpoint: &str) -> Result<(Arc<dyn Runtime>, Arc<dyn Images>)> {
    let channel = channel(&socket_path(endpoint)?);
    Ok((Arc::new(RuntimeClient::new(channel.clone())), Arc::new(ImageClient::new(channel))))
}

/// The path inside a CRI endpoint.
pub(crate) fn socket_path(endpoint: &str) -> Result<PathBuf> {
    let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
    if path.starts_with('/') {
        Ok(PathBuf::from(path))
    } else {
        Err(Error::Endpoint { endpoint: endpoint.to_owned() })
    }
}

/// A channel that connects lazily and again after each break.
pub(crate) fn channel(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    // The URI only gives the :authority header; the connector decides where to go.
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    }))
}

/// One call with its deadline, here and at the server.
async fn call<Q, R, F, Fut>(name: &'static str, deadline: Option<Duration>, message: Q, send: F) -> Result<R>
where
    F: FnOnce(Request<Q>) -> Fut,
    Fut: Future<Output = std::result::Result<Response<R>, Status>>,
{
    let mut request = Request::new(message);
    let answer = match deadline {
        Some(deadline) => {
            request.set_timeout(deadline);
            tokio::time::timeout(deadline, send(request))
                .await
                .map_err(|_| Error::DeadlineExceeded { call: name, after: deadline })?
        }
        None => send(request).await,
    };
    match answer {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => Err(Error::from_status(name, deadline, &status)),
    }
}

/// An answer without the part it must have.
fn missing<T>(name: &'static str, part: Option<T>) -> Result<T> {
    part.ok_or_else(|| Error::Other {
        call: name,
        code: tonic::Code::Internal,
        message: "the answer of the container runtime is empty".to_owned(),
    })
}

fn whole_seconds(duration: Duration) -> i64 {
    let rounded = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

/// The runtime service of a CRI socket.
pub(crate) struct RuntimeClient {
    inner: RuntimeServiceClient<Channel>,
}

impl RuntimeClient {
    pub(crate) fn new(channel: Channel) -> Self {
        let inner = RuntimeServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner }
    }

    fn client(&self) -> RuntimeServiceClient<Channel> {
        self.inner.clone()
    }
}

/// One gRPC call by method name: `rpc!(self, "Version", DEADLINE, version, message)`.
macro_rules! rpc {
    ($self:ident, $name:literal, $deadline:expr, $method:ident, $message:expr) => {{
        let mut client = $self.client();
        call($name, $deadline, $message, |request| async move { client.$method(request).await }).await
    }};
}

#[async_trait]
impl Runtime for RuntimeClient {
    async fn version(&self) -> Result<v1::VersionResponse> {
        let message = v1::VersionRequest { version: "v1".to_owned() };
        rpc!(self, "Version", Some(QUERY_DEADLINE), version, message)
    }

    async fn status(&self, verbose: bool) -> Result<v1::StatusResponse> {
        rpc!(self, "Status", Some(QUERY_DEADLINE), status, v1::StatusRequest { verbose })
    }

    async fn runtime_config(&self) -> Result<v1::RuntimeConfigResponse> {
        rpc!(self, "RuntimeConfig", Some(QUERY_DEADLINE), runtime_config, v1::RuntimeConfigRequest {})
    }

    async fn update_runtime_config(&self, pod_cidr: &str) -> Result<()> {
        let network = v1::NetworkConfig { pod_cidr: pod_cidr.to_owned() };
        let message = v1::UpdateRuntimeConfigRequest {
            runtime_config: Some(v1::RuntimeConfig { network_config: Some(network) }),
        };
        rpc!(self, "UpdateRuntimeConfig", Some(QUERY_DEADLINE), update_runtime_config, message)?;
        Ok(())
    }

    async fn run_pod_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String> {
        let message = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        Ok(rpc!(self, "RunPodSandbox", Some(SANDBOX_DEADLINE), run_pod_sandbox, message)?.pod_sandbox_id)
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        let message = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        rpc!(self, "StopPodSandbox", Some(SANDBOX_DEADLINE), stop_pod_sandbox, message)?;
        Ok(())
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        let message = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        rpc!(self, "RemovePodSandbox", Some(CALL_DEADLINE), remove_pod_sandbox, message)?;
        Ok(())
    }

    async fn pod_sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus> {
        let message = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        let answer = rpc!(self, "PodSandboxStatus", Some(QUERY_DEADLINE), pod_sandbox_status, message)?;
        missing("PodSandboxStatus", answer.status)
    }

    async fn list_pod_sandbox(&self, filter: Option<v1::PodSandboxFilter>) -> Result<Vec<v1::PodSandbox>> {
        let message = v1::ListPodSandboxRequest { filter };
        Ok(rpc!(self, "ListPodSandbox", Some(QUERY_DEADLINE), list_pod_sandbox, message)?.items)
    }

    async fn create_container(&self, request: v1::CreateContainerRequest) -> Result<String> {
        Ok(rpc!(self, "CreateContainer", Some(CALL_DEADLINE), create_container, request)?.container_id)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        let message = v1::StartContainerRequest { container_id: id.to_owned() };
        rpc!(self, "StartContainer", Some(CALL_DEADLINE), start_container, message)?;
        Ok(())
    }

    async fn stop_container(&self, id: &str, timeout: Duration) -> Result<()> {
        let message =
            v1::StopContainerRequest { container_id: id.to_owned(), timeout: whole_seconds(timeout) };
        let deadline = timeout.saturating_add(CALL_DEADLINE);
        rpc!(self, "StopContainer", Some(deadline), stop_container, message)?;
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        let message = v1::RemoveContainerRequest { container_id: id.to_owned() };
        rpc!(self, "RemoveContainer", Some(CALL_DEADLINE), remove_container, message)?;
        Ok(())
    }

    async fn list_containers(&self, filter: Option<v1::ContainerFilter>) -> Result<Vec<v1::Container>> {
        let message = v1::ListContainersRequest { filter };
        Ok(rpc!(self, "ListContainers", Some(QUERY_DEADLINE), list_containers, message)?.containers)
    }

    async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus> {
        let message = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let answer = rpc!(self, "ContainerStatus", Some(QUERY_DEADLINE), container_status, message)?;
        missing("ContainerStatus", answer.status)
    }

    async fn update_container_resources(&self, request: v1::UpdateContainerResourcesRequest) -> Result<()> {
        rpc!(self, "UpdateContainerResources", Some(CALL_DEADLINE), update_container_resources, request)?;
        Ok(())
    }

    async fn reopen_container_log(&self, id: &str) -> Result<()> {
        let message = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
        rpc!(self, "ReopenContainerLog", Some(CALL_DEADLINE), reopen_container_log, message)?;
        Ok(())
    }

    async fn exec_sync(&self, id: &str, cmd: Vec<String>, timeout: Duration) -> Result<v1::ExecSyncResponse> {
        let message =
            v1::ExecSyncRequest { container_id: id.to_owned(), cmd, timeout: whole_seconds(timeout) };
        // Without a timeout the command may run as long as it likes.
        let deadline = (!timeout.is_zero()).then(|| timeout.saturating_add(GRACE));
        let answer = rpc!(self, "ExecSync", deadline, exec_sync, message);
        answer.map_err(|error| match error {
            // The runtime ended the command at the caller's timeout, before our own deadline.
            Error::DeadlineExceeded { call, .. } => Error::DeadlineExceeded { call, after: timeout },
            other => other,
        })
    }

    async fn exec(&self, request: v1::ExecRequest) -> Result<String> {
        Ok(rpc!(self, "Exec", Some(CALL_DEADLINE), exec, request)?.url)
    }

    async fn attach(&self, request: v1::AttachRequest) -> Result<String> {
        Ok(rpc!(self, "Attach", Some(CALL_DEADLINE), attach, request)?.url)
    }

    async fn port_forward(&self, request: v1::PortForwardRequest) -> Result<String> {
        Ok(rpc!(self, "PortForward", Some(CALL_DEADLINE), port_forward, request)?.url)
    }

    async fn container_stats(&self, id: &str) -> Result<v1::ContainerStats> {
        let message = v1::ContainerStatsRequest { container_id: id.to_owned() };
        let answer = rpc!(self, "ContainerStats", Some(QUERY_DEADLINE), container_stats, message)?;
        missing("ContainerStats", answer.stats)
    }

    async fn list_container_stats(
        &self,
        filter: Option<v1::ContainerStatsFilter>,
    ) -> Result<Vec<v1::ContainerStats>> {
        let message = v1::ListContainerStatsRequest { filter };
        Ok(rpc!(self, "ListContainerStats", Some(QUERY_DEADLINE), list_container_stats, message)?.stats)
    }

    async fn list_pod_sandbox_stats(
        &self,
        filter: Option<v1::PodSandboxStatsFilter>,
    ) -> Result<Vec<v1::PodSandboxStats>> {
        let message = v1::ListPodSandboxStatsRequest { filter };
        Ok(rpc!(self, "ListPodSandboxStats", Some(QUERY_DEADLINE), list_pod_sandbox_stats, message)?.stats)
    }
}

/// The image service of a CRI socket.
pub(crate) struct ImageClient {
    inner: ImageServiceClient<Channel>,
}

impl ImageClient {
    pub(crate) fn new(channel: Channel) -> Self {
        let inner = ImageServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner }
    }

    fn client(&self) -> ImageServiceClient<Channel> {
        self.inner.clone()
    }
}

fn image_spec(image: &str) -> v1::ImageSpec {
    v1::ImageSpec { image: image.to_owned(), ..Default::default() }
}

#[async_trait]
impl Images for ImageClient {
    async fn pull(
        &self,
        image: &str,
        auth: Option<v1::AuthConfig>,
        sandbox: Option<v1::PodSandboxConfig>,
    ) -> Result<String> {
        let message = v1::PullImageRequest { image: Some(image_spec(image)), auth, sandbox_config: sandbox };
        Ok(rpc!(self, "PullImage", None, pull_image, message)?.image_ref)
    }

    async fn list(&self, name: Option<&str>) -> Result<Vec<v1::Image>> {
        let filter = name.map(|name| v1::ImageFilter { image: Some(image_spec(name)) });
        let message = v1::ListImagesRequest { filter };
        Ok(rpc!(self, "ListImages", Some(QUERY_DEADLINE), list_images, message)?.images)
    }

    async fn status(&self, image: &str) -> Result<Option<v1::Image>> {
        let message = v1::ImageStatusRequest { image: Some(image_spec(image)), verbose: false };
        Ok(rpc!(self, "ImageStatus", Some(QUERY_DEADLINE), image_status, message)?.image)
    }

    async fn remove(&self, image: &str) -> Result<()> {
        let message = v1::RemoveImageRequest { image: Some(image_spec(image)) };
        rpc!(self, "RemoveImage", Some(CALL_DEADLINE), remove_image, message)?;
        Ok(())
    }

    async fn fs_info(&self) -> Result<v1::ImageFsInfoResponse> {
        rpc!(self, "ImageFsInfo", Some(QUERY_DEADLINE), image_fs_info, v1::ImageFsInfoRequest {})
    }
}
