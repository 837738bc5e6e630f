//! Who a client certificate stands for.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, RootCertStore};

use crate::{Authority, Error, tls};

/// A user and its groups, as a client certificate names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Common name.
    pub user: String,
    /// Organizations. `system:authenticated` is for the authenticator of the API server to add.
    pub groups: Vec<String>,
}

/// Why a client certificate names nobody. The API answers 401 to all of them.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CertError {
    /// The client showed no certificate.
    #[error("no client certificate was shown")]
    Missing,
    /// It cannot be parsed.
    #[error("the client certificate cannot be read")]
    Malformed,
    /// Another authority has signed it, or nobody.
    #[error("the client certificate is not signed by this cluster's client authority")]
    UnknownAuthority,
    /// Its time is over.
    #[error("the client certificate has expired: ask for a new one, and check both machines' dates")]
    Expired,
    /// Its time has not come.
    #[error("the client certificate is not valid yet: check both machines' dates")]
    NotYetValid,
    /// It is not for clients.
    #[error("the certificate is not made for TLS clients")]
    WrongUsage,
    /// It has no common name.
    #[error("the client certificate names no user")]
    NoUser,
    /// Another rule of RFC 5280 is broken.
    #[error("the client certificate is not valid: {0}")]
    Invalid(String),
}

/// Verifies client certificates against one authority. Clones share it.
#[derive(Clone)]
pub struct ClientAuthenticator {
    verifier: Arc<dyn ClientCertVerifier>,
}

impl fmt::Debug for ClientAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuthenticator").finish_non_exhaustive()
    }
}

impl ClientAuthenticator {
    /// Trusts certificates of this authority.
    ///
    /// # Errors
    /// When the authority's certificate cannot be a trust anchor.
    pub fn new(authority: &Authority) -> Result<Self, Error> {
        let failed = |source| Error::Tls { subject: "the client authority".to_owned(), source };
        let mut roots = RootCertStore::empty();
        roots.add(authority.cert_der().clone()).map_err(failed)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
            .build()
            .map_err(|error| failed(rustls::Error::General(error.to_string())))?;
        Ok(Self { verifier })
    }

    /// The identity of a certificate chain, leaf first, at `now`: the chain up to the authority, the dates and the
    /// extended key usage are checked. That the client owns the key, the TLS handshake has shown.
    ///
    /// # Errors
    /// Why the certificate names nobody.
    pub fn authenticate(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Result<Identity, CertError> {
        let [leaf, between @ ..] = chain else { return Err(CertError::Missing) };
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        self.verifier.verify_client_cert(leaf, between, now).map_err(explain)?;
        let (_, certificate) = x509_parser::parse_x509_certificate(leaf).map_err(|_| CertError::Malformed)?;
        let subject = certificate.subject();
        let user = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
        let user = user.filter(|user| !user.is_empty()).ok_or(CertError::NoUser)?;
        let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
        Ok(Identity { user: user.to_owned(), groups: groups.map(str::to_owned).collect() })
    }
}

fn explain(error: rustls::Error) -> CertError {
    let rustls::Error::InvalidCertificate(error) = error else {
        return CertError::Invalid(error.to_string());
    };
    match error {
        CertificateError::BadEncoding => CertError::Malformed,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => CertError::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => CertError::NotYetValid,
        CertificateError::UnknownIssuer | CertificateError::BadSignature => CertError::UnknownAuthority,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            CertError::WrongUsage
        }
        other => CertError::Invalid(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests;
