//! Certificate authorities.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;

use crate::leaf::{Files, parse_cert, parse_key, parse_x509, read, tighten, write};
use crate::validity::{self, Validity};
use crate::{Error, KeyCert, Leaf, Usage};

/// A self-signed certificate and the key that signs others.
pub struct Authority {
    cert_pem: String,
    cert_der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    until: u64,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes an authority of ten years, named `<name>@<unix time>`, ECDSA P-256. Nothing is written.
    ///
    /// # Errors
    /// When the machine gives no randomness.
    pub fn create(name: &str, now: SystemTime) -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(|source| Error::Issue { subject: name.to_owned(), source })?;
        Self::self_sign(name, key, now)
    }

    fn self_sign(name: &str, key: KeyPair, now: SystemTime) -> Result<Self, Error> {
        let name = format!("{name}@{}", validity::unix(now));
        let failed = |source| Error::Issue { subject: name.clone(), source };
        let mut params = params(&name)?;
        let validity = Validity::of(now, validity::AUTHORITY);
        validity.apply(&mut params);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self {
            cert_pem: certificate.pem(),
            cert_der: certificate.into(),
            issuer: Issuer::new(params, key),
            until: validity.until,
        })
    }

    /// Reads an authority from two PEM files; the key must be PKCS#8.
    ///
    /// # Errors
    /// When a file is missing, unreadable, or not what it should be, or when the authority has expired at `now`.
    pub fn load(cert: &Path, key: &Path, now: SystemTime) -> Result<Self, Error> {
        let half = |missing: &Path, present: &Path| Error::HalfAuthority {
            missing: missing.to_owned(),
            present: present.to_owned(),
        };
        let cert_pem = read(cert)?.ok_or_else(|| half(cert, key))?;
        let key_pem = read(key)?.ok_or_else(|| half(key, cert))?;
        tighten(key)?;
        let pair = parse_key(key, &key_pem)?;
        let cert_der = parse_cert(cert, &cert_pem)?;
        let certificate = parse_x509(cert, &cert_der)?;
        if certificate.public_key().raw != pair.subject_public_key_info() {
            return Err(Error::Mismatch { certificate: cert.to_owned(), key: key.to_owned() });
        }
        if !certificate.is_ca() {
            return Err(Error::NoAuthority { path: cert.to_owned() });
        }
        let until = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default();
        if until <= validity::unix(now) {
            return Err(Error::AuthorityExpired { path: cert.to_owned() });
        }
        if until - validity::unix(now) < validity::RENEW.as_secs() {
            let days = (until - validity::unix(now)) / validity::DAY.as_secs();
            tracing::warn!(path = %cert.display(), days, "authority expires soon");
        }
        let issuer = Issuer::from_ca_cert_der(&cert_der, pair)
            .map_err(|error| Error::BadCertificate { path: cert.to_owned(), reason: error.to_string() })?;
        Ok(Self { cert_pem, cert_der, issuer, until })
    }

    /// Reads the authority, or makes it when neither file is there.
    ///
    /// The key is written before the certificate. A key alone is what a power cut in between leaves; it is
    /// completed while `unused`, that is, while nothing was issued in this folder yet.
    pub(crate) fn ensure(files: &Files, name: &str, unused: bool, now: SystemTime) -> Result<Self, Error> {
        let (cert_there, key_pem) = (read(&files.cert)?.is_some(), read(&files.key)?);
        let key = match (cert_there, key_pem) {
            (false, None) => {
                let key = KeyPair::generate()
                    .map_err(|source| Error::Issue { subject: name.to_owned(), source })?;
                write(&files.key, &key.serialize_pem(), 0o600)?;
                key
            }
            (false, Some(pem)) if unused => parse_key(&files.key, &pem)?,
            _ => return Self::load(&files.cert, &files.key, now),
        };
        let authority = Self::self_sign(name, key, now)?;
        write(&files.cert, &authority.cert_pem, 0o644)?;
        tracing::info!(path = %files.cert.display(), "made a certificate authority");
        Ok(authority)
    }

    /// Issues a certificate with a new key, valid for 365 days from an hour before `now`.
    ///
    /// # Errors
    /// Names that are not ASCII.
    pub fn issue(&self, leaf: &Leaf, now: SystemTime) -> Result<KeyCert, Error> {
        let key =
            KeyPair::generate().map_err(|source| Error::Issue { subject: leaf.name.clone(), source })?;
        self.issue_for(leaf, &key, now)
    }

    /// Issues a certificate for this key.
    pub(crate) fn issue_for(&self, leaf: &Leaf, key: &KeyPair, now: SystemTime) -> Result<KeyCert, Error> {
        let failed = |source| Error::Issue { subject: leaf.name.clone(), source };
        let mut params = params(&leaf.name)?;
        Validity::of(now, validity::LEAF).within(self.until).apply(&mut params);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        match &leaf.usage {
            Usage::Server { sans } => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                params.subject_alt_names =
                    sans.iter().map(crate::San::to_rcgen).collect::<Result<_, _>>().map_err(failed)?;
            }
            Usage::Client { group } => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                if let Some(group) = group {
                    params.distinguished_name.push(DnType::OrganizationName, group.as_str());
                }
            }
        }
        let certificate = params.signed_by(key, &self.issuer).map_err(failed)?;
        Ok(KeyCert::new(certificate.pem(), key.serialize_pem()))
    }

    /// The authority's certificate.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The authority's certificate in DER.
    #[must_use]
    pub fn cert_der(&self) -> &CertificateDer<'static> {
        &self.cert_der
    }

    /// Whether this certificate carries the authority's name and signature.
    pub(crate) fn has_issued(&self, certificate: &X509Certificate<'_>) -> bool {
        let Ok((_, own)) = x509_parser::parse_x509_certificate(&self.cert_der) else { return false };
        certificate.issuer().as_raw() == own.subject().as_raw()
            && certificate.verify_signature(Some(own.public_key())).is_ok()
    }
}

/// A certificate with a name and a random serial number and nothing else yet.
fn params(name: &str) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let mut serial = [0; 16];
    SystemRandom::new()
        .fill(&mut serial)
        .map_err(|_| Error::Issue { subject: name.to_owned(), source: rcgen::Error::RingUnspecified })?;
    // RFC 5280: positive, and not zero.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}
