//! Endpoints that TLS connections are made to, and a server of the benchmark's own to compare with.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use copepod_base::clock;
use copepod_pki::{Authority, Leaf, San, ServingCert, tls};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::kubeconfig::Kubeconfig;
use crate::error::{Error, Result, io, unusable};

/// Where to connect and whom to trust.
#[derive(Clone)]
pub(crate) struct Endpoint {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: ClientConfig,
}

impl Endpoint {
    /// The API server of a kubeconfig.
    pub(crate) fn kubeconfig(path: &Path) -> Result<Self> {
        let config = Kubeconfig::read(path)?;
        let what = path.display().to_string();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&config.authority) {
            roots.add(certificate.map_err(unusable(&*what))?).map_err(unusable(&*what))?;
        }
        let chain =
            CertificateDer::pem_slice_iter(&config.certificate).collect::<std::result::Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(&config.key).map_err(unusable(&*what))?;
        let tls = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable(&*what))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.map_err(unusable(&*what))?, key)
            .map_err(unusable(&*what))?;
        let name = ServerName::try_from(config.host.clone()).map_err(unusable(what))?;
        Ok(Self { host: config.host, port: config.port, name, tls })
    }

    /// Host and port, as in a URL.
    pub(crate) fn host(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// A new connection that speaks `protocol`.
    pub(super) async fn connect(&self, protocol: &[u8]) -> Result<TlsStream<TcpStream>> {
        let connecting = tokio::time::timeout(super::LIMIT, self.handshake(protocol));
        let late = |_| Error::Late { what: format!("TLS with {}", self.host()), limit: super::LIMIT };
        connecting.await.map_err(late)?
    }

    async fn handshake(&self, protocol: &[u8]) -> Result<TlsStream<TcpStream>> {
        let failed = || io(format!("connect to {}", self.host()));
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(failed())?;
        stream.set_nodelay(true).map_err(failed())?;
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![protocol.to_vec()];
        TlsConnector::from(Arc::new(tls)).connect(self.name.clone(), stream).await.map_err(failed())
    }
}

/// A TLS server on loopback that answers every request with the same bytes: what it costs to copy them through the
/// same TLS and HTTP code. It ends with the runtime.
pub(crate) struct SelfSigned {
    authority: Authority,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
}

impl SelfSigned {
    /// Makes the certificates and listens.
    pub(crate) async fn new() -> Result<Self> {
        let now = clock::now();
        let what = "the certificate of the server to compare with";
        let bad =
            |error: copepod_pki::Error| Error::Unusable { what: what.to_owned(), problem: error.to_string() };
        let authority = Authority::create("bench", now).map_err(bad)?;
        let leaf = Leaf::server("bench", [San::Ip(Ipv4Addr::LOCALHOST.into())]);
        let certificate = ServingCert::new(&authority.issue(&leaf, now).map_err(bad)?).map_err(bad)?;
        let mut tls = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable(what))?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(io("listen on loopback"))?;
        Ok(Self { authority, listener, tls: Arc::new(tls) })
    }

    /// How to reach it.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        let what = "the certificate of the server to compare with";
        let tls = tls::client_tls(self.authority.cert_pem(), None).map_err(unusable(what))?;
        let port = self.listener.local_addr().map_err(io("ask for the port"))?.port();
        let name = ServerName::IpAddress(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST).into());
        Ok(Endpoint { host: Ipv4Addr::LOCALHOST.to_string(), port, name, tls })
    }

    /// Answers with `body` from now on.
    pub(crate) fn serve(self, body: Bytes) {
        copepod_base::task::spawn("self-signed", async move {
            let acceptor = TlsAcceptor::from(self.tls);
            while let Ok((stream, _)) = self.listener.accept().await {
                let (acceptor, body) = (acceptor.clone(), body.clone());
                copepod_base::task::spawn("self-signed-connection", async move {
                    stream.set_nodelay(true)?;
                    let stream = TokioIo::new(acceptor.accept(stream).await?);
                    let answer = service_fn(move |_| {
                        let body = body.clone();
                        async move { Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(body))) }
                    });
                    http1::Builder::new()
                        .serve_connection(stream, answer)
                        .await
                        .map_err(std::io::Error::other)
                });
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Connection;

    #[tokio::test]
    async fn the_server_to_compare_with_gives_its_bytes_again_and_again() {
        let server = SelfSigned::new().await.unwrap();
        let endpoint = server.endpoint().unwrap();
        server.serve(Bytes::from(vec![7; 1_000_000]));
        let mut connection = Connection::http1(&endpoint).await.unwrap();
        for _ in 0..2 {
            assert_eq!(connection.get("/any").await.unwrap(), vec![7; 1_000_000]);
        }
    }
}
