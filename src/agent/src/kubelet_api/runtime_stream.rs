//! The runtime's streaming server: a SPDY connection made by an HTTP upgrade.

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::reply::Refusal;

/// Header by which stream protocols are negotiated.
pub(super) const PROTOCOL_HEADER: &str = "x-stream-protocol-version";
/// Longest error text read from the runtime.
const MAX_ERROR: usize = 4096;

/// An open stream connection.
pub(super) struct RuntimeStream {
    /// Bytes of SPDY/3.1.
    pub(super) io: TokioIo<Upgraded>,
    /// The protocol that the runtime chose.
    pub(super) protocol: Option<HeaderValue>,
}

/// Connects to a URL the runtime gave for one stream session, offering protocols in order.
pub(super) async fn connect(url: &str, protocols: &[HeaderValue]) -> Result<RuntimeStream, Refusal> {
    let uri: http::Uri =
        url.parse().map_err(|e| Refusal::internal(format!("the runtime's streaming URL {url:?}: {e}")))?;
    let authority = match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority)) => authority.clone(),
        _ => return Err(Refusal::internal(format!("the runtime's streaming URL {url:?} is not http"))),
    };
    let failed =
        |error: &dyn std::fmt::Display| Refusal::internal(format!("error dialing runtime stream: {error}"));
    let address = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
    let tcp = TcpStream::connect(address).await.map_err(|e| failed(&e))?;
    tcp.set_nodelay(true).map_err(|e| failed(&e))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.map_err(|e| failed(&e))?;
    // Ends with the upgrade, which takes the connection over.
    copepod_base::spawn("runtime-stream", async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "runtime stream connection ended");
        }
    });
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut request = Request::post(path)
        .header(header::HOST, authority.as_str())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "SPDY/3.1");
    for protocol in protocols {
        request = request.header(PROTOCOL_HEADER, protocol);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| failed(&e))?;
    let mut response = sender.send_request(request).await.map_err(|e| failed(&e))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let code = response.status();
        let body = Limited::new(response.body_mut(), MAX_ERROR).collect().await;
        let text = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        return Err(Refusal::new(code, String::from_utf8_lossy(&text).trim().to_owned()));
    }
    let protocol = response.headers().get(PROTOCOL_HEADER).cloned();
    let upgraded = hyper::upgrade::on(response).await.map_err(|e| failed(&e))?;
    Ok(RuntimeStream { io: TokioIo::new(upgraded), protocol })
}
