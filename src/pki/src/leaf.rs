//! Certificates that authorities issue: what they say, where they lie, when they are renewed.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use copepod_base::file;
use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;

use crate::{Authority, Error, San, tls, validity};

/// What a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Usage {
    /// TLS server (extended key usage `serverAuth`) under these names.
    Server {
        /// DNS names and addresses.
        sans: BTreeSet<San>,
    },
    /// TLS client (`clientAuth`): the common name is the user, the organization the group.
    Client {
        /// `None` for a user without a group of its own.
        group: Option<String>,
    },
}

/// A certificate to issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Common name of the subject.
    pub name: String,
    /// What it is for.
    pub usage: Usage,
}

impl Leaf {
    /// A server certificate.
    pub fn server(name: impl Into<String>, sans: impl IntoIterator<Item = San>) -> Self {
        Self { name: name.into(), usage: Usage::Server { sans: sans.into_iter().collect() } }
    }

    /// A client certificate.
    pub fn client(user: impl Into<String>, group: Option<&str>) -> Self {
        Self { name: user.into(), usage: Usage::Client { group: group.map(str::to_owned) } }
    }
}

/// Why a certificate is issued again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Less than 120 days are left.
    Expiring,
    /// It is not valid yet: the clock was set back.
    NotYetValid,
    /// Another authority has signed it.
    AuthorityChanged,
    /// It holds for other names than it should.
    NamesChanged,
    /// Its common name or organization is another.
    SubjectChanged,
}

impl fmt::Display for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expiring => "it expires soon",
            Self::NotYetValid => "it is not valid yet",
            Self::AuthorityChanged => "the authority has changed",
            Self::NamesChanged => "its names have changed",
            Self::SubjectChanged => "its subject has changed",
        })
    }
}

/// A certificate and its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyCert {
    cert_pem: String,
    key_pem: String,
}

impl fmt::Debug for KeyCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key: this may end in a log.
        f.debug_struct("KeyCert").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

impl KeyCert {
    pub(crate) fn new(cert_pem: String, key_pem: String) -> Self {
        Self { cert_pem, key_pem }
    }

    /// The certificate.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The key, PKCS#8. A secret.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The certificate in DER.
    #[must_use]
    pub fn cert_der(&self) -> Option<CertificateDer<'static>> {
        CertificateDer::from_pem_slice(self.cert_pem.as_bytes()).ok()
    }

    /// Both in the form that rustls takes.
    ///
    /// # Errors
    /// When they are not of one pair or of a kind that ring does not know.
    pub fn certified_key(&self) -> Result<Arc<CertifiedKey>, rustls::Error> {
        let bad = |_| rustls::Error::General("the stored PEM cannot be parsed".to_owned());
        let chain = CertificateDer::pem_slice_iter(self.cert_pem.as_bytes());
        let chain = chain.collect::<Result<_, _>>().map_err(bad)?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(bad)?;
        CertifiedKey::from_der(chain, key, &tls::provider()).map(Arc::new)
    }

    /// Why this certificate must be issued again at `now`; `None` while it serves.
    #[must_use]
    pub fn needs_renewal(&self, wanted: &Leaf, authority: &Authority, now: SystemTime) -> Option<Renewal> {
        let der = self.cert_der()?;
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&der) else {
            return Some(Renewal::SubjectChanged);
        };
        needs_renewal(&certificate, wanted, authority, now)
    }
}

fn needs_renewal(
    certificate: &X509Certificate<'_>,
    wanted: &Leaf,
    authority: &Authority,
    now: SystemTime,
) -> Option<Renewal> {
    if !authority.has_issued(certificate) {
        return Some(Renewal::AuthorityChanged);
    }
    let now = i64::try_from(validity::unix(now)).unwrap_or(i64::MAX);
    let renew = i64::try_from(validity::RENEW.as_secs()).unwrap_or(i64::MAX);
    if certificate.validity().not_after.timestamp().saturating_sub(now) < renew {
        return Some(Renewal::Expiring);
    }
    if certificate.validity().not_before.timestamp() > now {
        return Some(Renewal::NotYetValid);
    }
    let subject = certificate.subject();
    let name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
    let group = subject.iter_organization().next().and_then(|name| name.as_str().ok());
    let (wanted_group, wanted_sans) = match &wanted.usage {
        Usage::Server { sans } => (None, Some(sans)),
        Usage::Client { group } => (group.as_deref(), None),
    };
    if name != Some(wanted.name.as_str()) || group != wanted_group {
        return Some(Renewal::SubjectChanged);
    }
    (wanted_sans.is_some_and(|sans| *sans != San::of(certificate))).then_some(Renewal::NamesChanged)
}

/// Where a pair lies.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        Self { cert: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) }
    }

    /// Makes, renews or keeps the certificate; says whether it was written.
    ///
    /// The key is kept for ever and only the certificate renewed: one file is replaced, so a power cut cannot
    /// leave halves of two pairs.
    pub(crate) fn ensure(
        &self,
        wanted: &Leaf,
        authority: &Authority,
        now: SystemTime,
    ) -> Result<(KeyCert, bool), Error> {
        let cert_pem = read(&self.cert)?;
        let key = match read(&self.key)? {
            Some(pem) => {
                tighten(&self.key)?;
                parse_key(&self.key, &pem)?
            }
            None => {
                let key = KeyPair::generate()
                    .map_err(|source| Error::Issue { subject: wanted.name.clone(), source })?;
                write(&self.key, &key.serialize_pem(), 0o600)?;
                return self.issue(wanted, authority, key, now);
            }
        };
        let Some(cert_pem) = cert_pem else { return self.issue(wanted, authority, key, now) };
        let der = parse_cert(&self.cert, &cert_pem)?;
        let certificate = parse_x509(&self.cert, &der)?;
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err(Error::Mismatch { certificate: self.cert.clone(), key: self.key.clone() });
        }
        if let Some(reason) = needs_renewal(&certificate, wanted, authority, now) {
            tracing::info!(path = %self.cert.display(), %reason, "renewing certificate");
            return self.issue(wanted, authority, key, now);
        }
        Ok((KeyCert::new(cert_pem, key.serialize_pem()), false))
    }

    fn issue(
        &self,
        wanted: &Leaf,
        authority: &Authority,
        key: KeyPair,
        now: SystemTime,
    ) -> Result<(KeyCert, bool), Error> {
        let pair = authority.issue_for(wanted, &key, now)?;
        write(&self.cert, pair.cert_pem(), 0o644)?;
        Ok((pair, true))
    }
}

/// The file's text; `None` when there is no file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    file::write_atomic(path, text.as_bytes(), mode)
        .map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Takes the rights of others from a key that was copied here without care.
pub(crate) fn tighten(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "key was readable by others; its mode is 0600 now");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(|source| Error::Write { path: path.to_owned(), source })?;
    }
    Ok(())
}

pub(crate) fn parse_key(path: &Path, pem: &str) -> Result<KeyPair, Error> {
    KeyPair::from_pem(pem).map_err(|source| Error::BadKey { path: path.to_owned(), source })
}

pub(crate) fn parse_cert(path: &Path, pem: &str) -> Result<CertificateDer<'static>, Error> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| Error::BadCertificate { path: path.to_owned(), reason: error.to_string() })
}

pub(crate) fn parse_x509<'a>(
    path: &Path,
    der: &'a CertificateDer<'static>,
) -> Result<X509Certificate<'a>, Error> {
    match x509_parser::parse_x509_certificate(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(error) => Err(Error::BadCertificate { path: path.to_owned(), reason: error.to_string() }),
    }
}
