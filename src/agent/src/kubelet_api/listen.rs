//! The kubelet API's own port: TLS, with a check of the caller's certificate.

use std::sync::Arc;
use std::time::Duration;

use copepod_base::{Chain, Shutdown};
use http::StatusCode;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::KubeletApi;

/// Whether a caller with these certificates may use the API. Without any, the list is empty.
pub type Authorize = Arc<dyn Fn(&[CertificateDer<'_>]) -> bool + Send + Sync>;

/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After an accept that failed, for example for lack of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

impl KubeletApi {
    /// Serves connections of a listener until the shutdown.
    ///
    /// `tls` must ask for client certificates without demanding them at once; who has none that `authorize` takes, gets
    /// 401 for every request.
    pub fn serve_tls(
        &self,
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        authorize: Authorize,
        shutdown: &Shutdown,
    ) {
        let api = self.clone();
        let acceptor = TlsAcceptor::from(tls);
        let connections = shutdown.child();
        shutdown.spawn_until_cancelled("kubelet-api", async move {
            loop {
                match listener.accept().await {
                    Ok((tcp, peer)) => {
                        let (api, acceptor, authorize) = (api.clone(), acceptor.clone(), authorize.clone());
                        connections.spawn_until_cancelled("kubelet-api-connection", async move {
                            if let Err(error) = api.serve_one(tcp, &acceptor, &authorize).await {
                                tracing::debug!(%peer, error = %Chain(&*error), "kubelet API connection ended");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the kubelet API takes no connection");
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                }
            }
        });
    }

    async fn serve_one(
        &self,
        tcp: TcpStream,
        acceptor: &TlsAcceptor,
        authorize: &Authorize,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        tcp.set_nodelay(true)?;
        let tls = tokio::time::timeout(HANDSHAKE, acceptor.accept(tcp)).await??;
        let certificates = tls.get_ref().1.peer_certificates().unwrap_or_default();
        if authorize(certificates) {
            return Ok(self.serve_connection(tls).await?);
        }
        let refuse = hyper::service::service_fn(|_request| async {
            Ok::<_, std::convert::Infallible>(
                super::Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized").into_response(),
            )
        });
        let io = hyper_util::rt::TokioIo::new(tls);
        Ok(hyper::server::conn::http1::Builder::new().serve_connection(io, refuse).await?)
    }
}
