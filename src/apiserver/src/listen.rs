//! TLS connections: accepting, limits, graceful end.

use std::sync::Arc;
use std::time::Duration;

use copepod_base::Chain;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use crate::authenticate::{Credentials, Peer};
use crate::server::Service;
use crate::state::State;

/// A client must have sent its part of the handshake in this time.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// An HTTP/1.1 connection is closed when no request begins, or its head is not there, in this time. Not shorter than
/// what clients keep idle connections for: a request must not meet a connection that is just being closed.
const IDLE_PATIENCE: Duration = Duration::from_secs(90);
/// TCP asks a silent peer whether it is alive after this many seconds, and then this often: a machine that lost its
/// power must not hold its streams for ever.
const PROBE_AFTER: u32 = 60;
const PROBE_EVERY: u32 = 15;
/// A connection that is silent for this long is asked whether it is alive.
const PING_EVERY: Duration = Duration::from_secs(90);
const PING_PATIENCE: Duration = Duration::from_secs(30);
/// Streams on one connection; more wait at the client.
const STREAMS: u32 = 250;
/// What one HTTP/1.1 connection buffers of requests at most.
const H1_BUFFER: usize = 64 * 1024;
/// How long connections may take to end at shutdown.
const END_PATIENCE: Duration = Duration::from_millis(1500);
/// Without free file descriptors, accepting again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until shutdown.
pub(crate) async fn serve(state: Arc<State>, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(state.config.max_connections));
    let shutdown = state.shutdown.clone();
    let accept = async {
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let task = connection(state.clone(), acceptor.clone(), stream, slot);
                    shutdown.spawn("api-connection", task);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    shutdown.guard(accept).await;
}

async fn connection(state: Arc<State>, acceptor: TlsAcceptor, stream: TcpStream, slot: OwnedSemaphorePermit) {
    let shutdown = state.shutdown.clone();
    let _counted = state.metrics.connected();
    let _slot = slot;
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%error, "a connection's options could not be set");
    }
    let handshake = tokio::time::timeout(HANDSHAKE_PATIENCE, acceptor.accept(stream));
    let stream = match shutdown.guard(handshake).await {
        Some(Ok(Ok(stream))) => stream,
        Some(Ok(Err(error))) => {
            tracing::debug!(%error, "TLS handshake failed");
            return;
        }
        Some(Err(_)) | None => return,
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
    let service = Service::new(state, Credentials::Connection(Arc::new(Peer::new(chain))));

    let builder = builder();
    let served =
        builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            match tokio::time::timeout(END_PATIENCE, served).await {
                Ok(result) => result,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(error = %Chain(error.as_ref()), "a connection broke off");
    }
}

fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &PROBE_AFTER)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &PROBE_EVERY)?;
    Ok(())
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_PATIENCE)
        .max_buf_size(H1_BUFFER)
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE)
        .max_header_list_size(64 * 1024)
        .max_send_buf_size(64 * 1024);
    builder
}
