//! A small HTTP client for probes and lifecycle hooks: one request, no reuse.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Most of a body that is read, in bytes.
const MAX_BODY: usize = 10 << 10;

/// What to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) https: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path with query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Target {
    pub(crate) fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Sends a GET; status and the start of the body. Certificates are not verified, as in kubelet.
pub(crate) async fn get(target: &Target) -> Result<(u16, Bytes), String> {
    let failed = |error: String| format!("Get \"{}\": {error}", target.url());
    let tcp = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .map_err(|e| failed(format!("dial tcp {}: connect: {}", target.authority(), connect_error(&e))))?;
    if target.https {
        let name = ServerName::try_from(target.host.clone()).map_err(|e| failed(e.to_string()))?;
        let config = insecure_tls().map_err(|e| failed(e.to_string()))?;
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config));
        let tls = tls.connect(name, tcp).await.map_err(|e| failed(e.to_string()))?;
        exchange(tls, target).await.map_err(failed)
    } else {
        exchange(tcp, target).await.map_err(failed)
    }
}

async fn exchange<S>(io: S, target: &Target) -> Result<(u16, Bytes), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(|e| text(&e))?;
    let mut request = http::Request::get(&target.path);
    let named = |name: &str| target.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    if !named("Host") {
        request = request.header("Host", target.authority());
    }
    if !named("User-Agent") {
        request = request.header("User-Agent", "kube-probe/1.36");
    }
    if !named("Accept") {
        request = request.header("Accept", "*/*");
    }
    for (name, value) in target.headers.iter().filter(|(_, v)| !v.is_empty()) {
        request = request.header(name, value);
    }
    let request = request.header("Connection", "close").body(Empty::<Bytes>::new()).map_err(|e| text(&e))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| text(&e))?;
        let status = response.status().as_u16();
        // A body longer than the limit is cut; the status is what counts.
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        Ok((status, body.map(http_body_util::Collected::to_bytes).unwrap_or_default()))
    };
    tokio::pin!(connection);
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            // The connection may end with the answer complete.
            let answer = answer.await;
            match (answer, ended) {
                (Ok(answer), _) => Ok(answer),
                (Err(error), Ok(())) => Err(error),
                (Err(_), Err(error)) => Err(error.to_string()),
            }
        }
    }
}

/// Go's words for the usual errors.
pub(crate) fn connect_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        std::io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        std::io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        _ => error.to_string(),
    }
}

fn insecure_tls() -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(config)
}

/// Takes any certificate: a probe asks whether something answers, not who.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
