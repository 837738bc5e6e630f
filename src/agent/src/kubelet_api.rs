//! The kubelet API: logs, exec, attach, port-forward, pods and metrics of this node.
//!
//! HTTP/1.1 over any byte stream ([`KubeletApi::serve_connection`]; the transport has authenticated the peer), or over TLS
//! ([`KubeletApi::serve_tls`]; the peer's certificate is checked).
//!
//! | path | what |
//! |---|---|
//! | `/containerLogs/{namespace}/{pod}/{container}` | log, also followed |
//! | `/exec/…`, `/attach/…` | streams of a command or of the main process: SPDY as it is, WebSocket translated |
//! | `/portForward/{namespace}/{pod}` | connections to ports of the pod |
//! | `/pods`, `/metrics`, `/healthz` | what they say |

mod bridge;
mod channels;
mod listen;
mod logs;
mod query;
mod reply;
mod runtime_stream;
mod spdy;
mod streams;
mod tunnel;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use copepod_base::metrics::Metrics;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::pods::shared::Shared;
use query::Query;
use reply::{Body, Refusal, full, json};

pub use listen::Authorize;

/// The kubelet API of this node; clones are the same.
#[derive(Clone)]
pub struct KubeletApi {
    shared: Arc<Shared>,
    metrics: Metrics,
}

impl KubeletApi {
    pub(crate) fn new(shared: Arc<Shared>, metrics: Metrics) -> Self {
        Self { shared, metrics }
    }

    /// Serves one connection until its end. Streams that a request was upgraded to go on by themselves.
    ///
    /// # Errors
    /// When the peer speaks no HTTP/1.1 or the connection breaks.
    pub async fn serve_connection<S>(&self, io: S) -> Result<(), hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = service_fn(|request| {
            let api = self.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades()
            .await
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let result = self.route(request).await;
        result.unwrap_or_else(|refusal| {
            tracing::debug!(
                path,
                code = refusal.code.as_u16(),
                message = refusal.message,
                "kubelet API request refused"
            );
            refusal.into_response()
        })
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let get = request.method() == Method::GET;
        let streams = get || request.method() == Method::POST;
        match parts.as_slice() {
            ["healthz"] if get => {
                Ok(full(StatusCode::OK, "text/plain; charset=utf-8", Bytes::from_static(b"ok")))
            }
            ["metrics"] if get => Ok(full(
                StatusCode::OK,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                self.metrics.encode().into(),
            )),
            ["pods" | "pods/"] if get => Ok(self.pods()),
            ["containerLogs", namespace, pod, container] if get => {
                logs::logs(&self.shared, namespace, pod, container, &query).await
            }
            // Older callers put the pod's UID before the container.
            ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container] if streams => {
                streams::exec(&self.shared, request, (namespace, pod, container), &query).await
            }
            ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] if streams => {
                streams::attach(&self.shared, request, (namespace, pod, container), &query).await
            }
            ["portForward", namespace, pod] | ["portForward", namespace, pod, _] if streams => {
                streams::port_forward(&self.shared, request, (namespace, pod), &query).await
            }
            ["healthz" | "metrics" | "pods" | "containerLogs" | "exec" | "attach" | "portForward", ..] => {
                Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed"))
            }
            _ => Err(Refusal::new(StatusCode::NOT_FOUND, "404 page not found")),
        }
    }

    /// The pods with the statuses as computed last.
    fn pods(&self) -> Response<Body> {
        let items: Vec<serde_json::Value> = self
            .shared
            .registry
            .list()
            .iter()
            .map(|view| {
                let mut pod = (*view.pod).clone();
                pod.status = Some(view.status.clone());
                serde_json::to_value(pod).unwrap_or_default()
            })
            .collect();
        json(&serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
    }
}
