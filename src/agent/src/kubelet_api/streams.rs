//! `/exec`, `/attach`, `/portForward`: finding the container, asking the runtime for a stream, and joining it with the
//! client's by the protocol that the client speaks.

use std::sync::Arc;

use copepod_cri::v1;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::bridge::{Bridge, Route};
use super::channels::Protocol;
use super::query::Query;
use super::reply::{Body, Refusal, empty};
use super::runtime_stream::{PROTOCOL_HEADER, RuntimeStream, connect};
use super::{bridge, tunnel};
use crate::pods::shared::Shared;

/// The newest stream protocol of runtimes.
const REMOTE_COMMAND: &str = "v4.channel.k8s.io";
/// Stream protocol of port-forward.
const PORT_FORWARD: &str = "portforward.k8s.io";
/// SPDY inside of WebSocket messages.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// Which streams a command has.
struct Wanted {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Wanted {
    fn of(query: &Query) -> Result<Self, Refusal> {
        let tty = query.flag("tty");
        // A terminal has one output.
        let wanted = Self {
            stdin: query.flag("input"),
            stdout: query.flag("output"),
            stderr: query.flag("error") && !tty,
            tty,
        };
        if !(wanted.stdin || wanted.stdout || wanted.stderr) {
            return Err(Refusal::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
        }
        Ok(wanted)
    }
}

pub(super) async fn exec(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    target: (&str, &str, &str),
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    let wanted = Wanted::of(query)?;
    let id = running_container(shared, target)?;
    let cmd = query.all("command");
    if cmd.is_empty() {
        return Err(Refusal::bad_request("you must specify at least 1 command"));
    }
    let ask = v1::ExecRequest {
        container_id: id,
        cmd,
        tty: wanted.tty,
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
    };
    let url = shared.runtime.exec(ask).await?;
    join_command(request, &url, &wanted).await
}

pub(super) async fn attach(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    target: (&str, &str, &str),
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    let wanted = Wanted::of(query)?;
    let ask = v1::AttachRequest {
        container_id: running_container(shared, target)?,
        stdin: wanted.stdin,
        tty: wanted.tty,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
    };
    let url = shared.runtime.attach(ask).await?;
    join_command(request, &url, &wanted).await
}

pub(super) async fn port_forward(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    (namespace, pod): (&str, &str),
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    let view = shared.registry.get(namespace, pod).ok_or_else(no_pod)?.borrow().clone();
    let sandbox = view.state.ready_sandbox().ok_or_else(|| {
        Refusal::not_found(format!("unable to find the sandbox of pod \"{pod}\": it is not running"))
    })?;
    let mut ports = Vec::new();
    for text in query.all("port").iter().chain(&query.all("ports")).flat_map(|t| t.split(',')) {
        let port: u16 = text.parse().ok().filter(|p| *p > 0).ok_or_else(|| {
            Refusal::bad_request(format!("port \"{text}\" must be a positive integer up to 65535"))
        })?;
        ports.push(port);
    }
    let ask = v1::PortForwardRequest {
        pod_sandbox_id: sandbox.id.clone(),
        port: ports.iter().map(|p| i32::from(*p)).collect(),
    };
    let url = shared.runtime.port_forward(ask).await?;
    let protocol = [HeaderValue::from_static(PORT_FORWARD)];
    let Some(offered) = websocket_protocols(&request) else {
        return pass_through(request, &url).await;
    };
    if offered.iter().any(|p| p == TUNNEL) {
        let stream = connect(&url, &protocol).await?;
        return accept_websocket(request, TUNNEL, move |socket| tunnel::run(socket, stream));
    }
    let offered: Vec<&str> = offered.iter().map(String::as_str).collect();
    let (name, channels) = choose(&offered)?;
    if ports.is_empty() {
        return Err(Refusal::bad_request("query parameter \"port\" is required"));
    }
    let stream = connect(&url, &protocol).await?;
    let name = name.to_owned();
    accept_websocket(request, &name, move |socket| bridge::ports(socket, channels, stream, ports))
}

/// Joins the streams of a command.
async fn join_command(
    request: Request<Incoming>,
    url: &str,
    wanted: &Wanted,
) -> Result<Response<Body>, Refusal> {
    let Some(offered) = websocket_protocols(&request) else {
        return pass_through(request, url).await;
    };
    let offered: Vec<&str> = offered.iter().map(String::as_str).collect();
    let (name, protocol) = choose(&offered)?;
    let stream = connect(url, &[HeaderValue::from_static(REMOTE_COMMAND)]).await?;
    let routes = Route::of_command(wanted.stdin, wanted.stdout, wanted.stderr, wanted.tty);
    let name = name.to_owned();
    accept_websocket(request, &name, move |socket| Bridge { socket, protocol, stream, routes }.run())
}

fn choose<'a>(offered: &[&'a str]) -> Result<(&'a str, Protocol), Refusal> {
    Protocol::choose(offered).ok_or_else(|| {
        Refusal::bad_request(format!("unable to upgrade: unsupported subprotocols {offered:?}"))
    })
}

fn no_pod() -> Refusal {
    Refusal::not_found("pod does not exist")
}

fn running_container(
    shared: &Shared,
    (namespace, pod, container): (&str, &str, &str),
) -> Result<String, Refusal> {
    let view = shared.registry.get(namespace, pod).ok_or_else(no_pod)?.borrow().clone();
    let latest = view.state.latest(container).filter(|r| r.running());
    latest
        .map(|r| r.id.clone())
        .ok_or_else(|| Refusal::not_found(format!("container not found (\"{container}\")")))
}

/// The subprotocols of a WebSocket handshake; `None` when the request is none.
fn websocket_protocols(request: &Request<Incoming>) -> Option<Vec<String>> {
    let upgrade = request.headers().get(header::UPGRADE)?.to_str().ok()?;
    if !upgrade.eq_ignore_ascii_case("websocket") {
        return None;
    }
    let lists = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let names = lists.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    Some(names.map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect())
}

/// Answers the handshake and hands the socket to `run`.
fn accept_websocket<F, Fut>(
    request: Request<Incoming>,
    protocol: &str,
    run: F,
) -> Result<Response<Body>, Refusal>
where
    F: FnOnce(WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let headers = request.headers();
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or_else(|| Refusal::bad_request("unable to upgrade: Sec-WebSocket-Key is missing"))?;
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
        return Err(Refusal::bad_request("unable to upgrade: Sec-WebSocket-Version must be 13"));
    }
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()));
    if !protocol.is_empty() {
        response = response.header(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let response = response.body(empty()).map_err(|e| Refusal::internal(e.to_string()))?;
    copepod_base::spawn("stream", async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => {
                let socket =
                    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
                run(socket).await;
            }
            Err(error) => tracing::debug!(%error, "a client left before its stream began"),
        }
    });
    Ok(response)
}

/// A SPDY client talks to the runtime itself: bytes go through as they are.
async fn pass_through(request: Request<Incoming>, url: &str) -> Result<Response<Body>, Refusal> {
    let upgrade = request.headers().get(header::UPGRADE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !upgrade.eq_ignore_ascii_case("SPDY/3.1") {
        return Err(Refusal::bad_request(
            "unable to upgrade: missing upgrade headers in request: Upgrade must be SPDY/3.1 or websocket",
        ));
    }
    let protocols: Vec<HeaderValue> = request.headers().get_all(PROTOCOL_HEADER).iter().cloned().collect();
    let RuntimeStream { mut io, protocol } = connect(url, &protocols).await?;
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "SPDY/3.1");
    if let Some(protocol) = protocol {
        response = response.header(PROTOCOL_HEADER, protocol);
    }
    let response = response.body(empty()).map_err(|e| Refusal::internal(e.to_string()))?;
    copepod_base::spawn("stream", async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => {
                let mut client = TokioIo::new(upgraded);
                if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut io).await {
                    tracing::debug!(%error, "a stream was cut off");
                }
            }
            Err(error) => tracing::debug!(%error, "a client left before its stream began"),
        }
    });
    Ok(response)
}
