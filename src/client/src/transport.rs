//! A `kube::Client` without a socket.

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use kube::client::Body;
use tower::Service;

/// Wraps a service of this process as the transport of a `kube::Client` with default namespace `default`.
///
/// Requests carry a path and query only, no scheme or host. Who the client is, the service decides: it is made
/// for one identity. Must be called inside a tokio runtime.
pub fn in_process<S, B>(service: S) -> kube::Client
where
    S: Service<http::Request<Body>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    kube::Client::new(service, "default")
}
