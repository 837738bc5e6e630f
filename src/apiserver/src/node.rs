//! The way to the nodes: streams and logs of pods are the agents' to serve.
//!
//! The server speaks HTTP/1.1 over a byte stream that a [`NodeDialer`] gives, with the kubelet's paths.

use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use copepod_api::status::ApiError;
use copepod_base::Chain;
use futures::future::BoxFuture;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::body::Body;
use crate::request::Context;
use crate::request::content::BoxError;

/// A byte stream to a node.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Opens authenticated byte streams to nodes' kubelet APIs.
pub trait NodeDialer: Send + Sync {
    /// A new stream to a node.
    fn dial(&self, node: &str) -> BoxFuture<'static, io::Result<Box<dyn Io>>>;
}

struct Boxed(Box<dyn Io>);

impl AsyncRead for Boxed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Boxed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}

/// Headers of an upgrade that go to the node and back.
fn belongs_to_stream(name: &HeaderName) -> bool {
    name == UPGRADE
        || name == CONNECTION
        || name.as_str().starts_with("sec-websocket-")
        || name.as_str() == "x-stream-protocol-version"
}

fn unreachable(node: &str, why: &dyn std::fmt::Display) -> ApiError {
    ApiError::internal(format!("error dialing backend: node {node}: {why}"))
}

/// Opens an HTTP/1.1 connection to a node and sends a request without a body.
async fn send(
    cx: &Context,
    node: &str,
    request: Request<Empty<Bytes>>,
) -> Result<Response<hyper::body::Incoming>, ApiError> {
    let io = cx.state.dialer.dial(node).await.map_err(|error| unreachable(node, &error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(Boxed(io)))
        .await
        .map_err(|error| unreachable(node, &Chain(&error)))?;
    cx.state.shutdown.spawn_until_cancelled("node-connection", async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(error = %Chain(&error), "connection to a node ended");
        }
    });
    sender.send_request(request).await.map_err(|error| unreachable(node, &Chain(&error)))
}

fn request(method: Method, path: &str, headers: HeaderMap) -> Result<Request<Empty<Bytes>>, ApiError> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .body(Empty::new())
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    *request.headers_mut() = headers;
    request.headers_mut().insert(HOST, http::HeaderValue::from_static("node"));
    Ok(request)
}

/// Answers with what the node sends, as it comes.
///
/// # Errors
/// 500 when the node cannot be reached; what the node refuses, with its words.
pub(crate) async fn stream(cx: &Context, node: &str, path: &str) -> Result<Response<Body>, ApiError> {
    let answer = send(cx, node, request(Method::GET, path, HeaderMap::new())?).await?;
    let (parts, body) = answer.into_parts();
    if !parts.status.is_success() {
        let text = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        return Err(status_of(parts.status, String::from_utf8_lossy(&text).trim()));
    }
    let data = body.into_data_stream();
    let body = Body::stream(futures::StreamExt::map(data, |item| item.map_err(BoxError::from)));
    let mut response = Response::new(body);
    *response.status_mut() = parts.status;
    if let Some(kind) = parts.headers.get(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    Ok(response)
}

/// Joins the client's connection with one to the node, once the node agrees to the protocol.
///
/// # Errors
/// 400 when the client asks for no upgrade, 500 when the node cannot be reached.
pub(crate) async fn upgrade(cx: &Context, node: &str, path: &str) -> Result<Response<Body>, ApiError> {
    let client = cx.take_upgrade().filter(|_| cx.headers.contains_key(UPGRADE));
    let Some(client) = client else {
        return Err(ApiError::bad_request("Upgrade request required"));
    };
    let mut headers = HeaderMap::new();
    for (name, value) in cx.headers.iter().filter(|(name, _)| belongs_to_stream(name)) {
        headers.append(name, value.clone());
    }
    let mut answer = send(cx, node, request(cx.method.clone(), path, headers)?).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(refused(answer).await);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in answer.headers().iter().filter(|(name, _)| belongs_to_stream(name)) {
        response.headers_mut().append(name, value.clone());
    }
    let node_side = hyper::upgrade::on(&mut answer);
    cx.state.shutdown.spawn_until_cancelled("node-stream", async move {
        // The client's side is there once the response has been sent.
        match tokio::try_join!(client, node_side) {
            Ok((client, node)) => join(client, node).await,
            Err(error) => tracing::debug!(error = %Chain(&error), "a stream to a pod was not opened"),
        }
    });
    Ok(response)
}

async fn join(client: Upgraded, node: Upgraded) {
    let (mut client, mut node) = (TokioIo::new(client), TokioIo::new(node));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut node).await {
        tracing::debug!(%error, "a stream to a pod broke off");
    }
}

/// A node's plain text error as the API's.
fn status_of(code: StatusCode, text: &str) -> ApiError {
    match code {
        StatusCode::BAD_REQUEST => ApiError::bad_request(text),
        StatusCode::NOT_FOUND => ApiError::new(404, "NotFound", text),
        StatusCode::INTERNAL_SERVER_ERROR => ApiError::internal(text),
        other => ApiError::new(other.as_u16(), "", text),
    }
}

/// What the node says instead of switching protocols.
async fn refused(answer: Response<hyper::body::Incoming>) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let text = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut response = Response::new(Body::whole(text));
    *response.status_mut() = parts.status;
    if let Some(kind) = parts.headers.get(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    response
}
