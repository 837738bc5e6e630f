//! rustls configurations, all with ring.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};

use crate::{Authority, Error, KeyCert, Pki};

/// The provider of all cryptography; never the process default, which a library could set.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificate that a running server shows; [`replace`](Self::replace) changes it for new connections.
pub struct ServingCert(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for ServingCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServingCert").finish_non_exhaustive()
    }
}

impl ServingCert {
    /// Starts with this certificate.
    ///
    /// # Errors
    /// When certificate and key cannot be used for TLS.
    pub fn new(pair: &KeyCert) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self(RwLock::new(certified(pair)?))))
    }

    /// Shows this certificate from the next handshake on.
    ///
    /// # Errors
    /// When certificate and key cannot be used for TLS; the old ones stay.
    pub fn replace(&self, pair: &KeyCert) -> Result<(), Error> {
        *self.0.write() = certified(pair)?;
        Ok(())
    }
}

fn certified(pair: &KeyCert) -> Result<Arc<CertifiedKey>, Error> {
    pair.certified_key().map_err(|source| Error::Tls { subject: "the server".to_owned(), source })
}

impl ResolvesServerCert for ServingCert {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }
}

/// Asks every client for a certificate and accepts any, or none, in the handshake.
///
/// As with kube-apiserver, a foreign or expired certificate is no reason to break the connection: the request
/// gets its 401, which tells a person more than a TLS alert. That the client owns the key is verified here; whom
/// the certificate stands for, `ClientAuthenticator` finds out for each request.
#[derive(Debug)]
pub struct ClientVerifier {
    hints: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl ClientVerifier {
    /// Names these authorities to clients, so that they choose a fitting certificate.
    #[must_use]
    pub fn new(authorities: &[&Authority]) -> Self {
        let subject = |authority: &&Authority| {
            let (_, certificate) = x509_parser::parse_x509_certificate(authority.cert_der()).ok()?;
            Some(DistinguishedName::from(certificate.subject().as_raw().to_vec()))
        };
        Self { hints: authorities.iter().filter_map(subject).collect(), provider: provider() }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// TLS of the API server: HTTP/2 and HTTP/1.1, optional client certificates, and the certificate that
/// [`Pki::refresh`] exchanges while it runs.
#[must_use]
pub fn server_tls(pki: &Pki) -> Arc<ServerConfig> {
    let verifier = ClientVerifier::new(&[pki.client_ca(), pki.request_header_ca()]);
    server_config(pki.serving().clone(), Arc::new(verifier))
}

/// TLS of any server of this machine that authenticates clients as the API server does.
#[must_use]
pub fn server_config(
    certificate: Arc<dyn ResolvesServerCert>,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// TLS of a client that trusts only this authority (PEM, may hold several) and shows `identity`, if any.
/// ALPN is for the caller to set.
///
/// # Errors
/// When the PEM texts cannot be used.
pub fn client_tls(ca_pem: &str, identity: Option<&KeyCert>) -> Result<ClientConfig, rustls::Error> {
    let bad = |_| rustls::Error::General("the PEM text cannot be parsed".to_owned());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.map_err(bad)?)?;
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_slice_iter(identity.cert_pem().as_bytes());
    let chain = chain.collect::<Result<_, _>>().map_err(bad)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem().as_bytes()).map_err(bad)?;
    builder.with_client_auth_cert(chain, key)
}

#[cfg(test)]
mod tests;
