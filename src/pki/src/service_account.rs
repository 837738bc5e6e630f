//! Service account tokens: JWTs bound to an account and, mostly, to a pod.
//!
//! Claims are Kubernetes' own (KEP-1205, KEP-4193), signed with ES256. Whether account, pod and node still exist
//! with these uids is for the API server to ask its store.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::{KeyPair, PublicKeyData};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::leaf::{parse_key, read, tighten, write};
use crate::validity::unix;

/// Issuer and default audience of a cluster with the default domain.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// How far the clock of the machine that made a token may be ahead.
const AHEAD: u64 = 60;

/// Name and uid of an object that a token depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

/// The claim `kubernetes.io`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Namespace of account, pod and secret.
    pub namespace: String,
    /// The account.
    pub serviceaccount: Reference,
    /// The pod whose deletion ends the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The node of the pod, or the node whose deletion ends the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// The secret whose deletion ends the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// Unix time after which use of the token is worth a warning, for extended tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<u64>,
}

impl Binding {
    /// A binding to an account and nothing else.
    #[must_use]
    pub fn account(namespace: impl Into<String>, serviceaccount: Reference) -> Self {
        Self {
            namespace: namespace.into(),
            serviceaccount,
            pod: None,
            node: None,
            secret: None,
            warnafter: None,
        }
    }

    /// User name of the account: `system:serviceaccount:<namespace>:<name>`.
    #[must_use]
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.serviceaccount.name)
    }

    /// Groups of the account, without `system:authenticated`.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        let all = "system:serviceaccounts";
        vec![all.to_owned(), format!("{all}:{}", self.namespace)]
    }
}

/// The claims of a token. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whom the token is for.
    pub aud: Vec<String>,
    /// When it expires.
    pub exp: u64,
    /// When it was made.
    pub iat: u64,
    /// Who made it.
    pub iss: String,
    /// Unique identifier, for audit logs.
    pub jti: String,
    /// What it depends on.
    #[serde(rename = "kubernetes.io")]
    pub binding: Binding,
    /// From when it holds.
    pub nbf: u64,
    /// User name of the account.
    pub sub: String,
}

/// Why a token names nobody. The API answers 401 to all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a service account token.
    #[error("the token is malformed")]
    Malformed,
    /// Signed with another key, or changed afterwards.
    #[error("the token's signature is not this cluster's")]
    Signature,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Made by another issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// Made for other audiences.
    #[error("the token is not for this audience")]
    Audience,
}

/// Signs and verifies tokens with the key in `service.key`.
pub struct Signer {
    issuer: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    header: Header,
    validation: Validation,
    jwk: Value,
    public_pem: String,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Signer {
    /// Reads the key, or makes it (ECDSA P-256, mode 0600) when there is no file.
    ///
    /// # Errors
    /// A file that cannot be read, written or understood.
    pub fn ensure(path: &Path) -> Result<Self, Error> {
        let key = if let Some(pem) = read(path)? {
            tighten(path)?;
            parse_key(path, &pem)?
        } else {
            let subject = "service accounts".to_owned();
            let key = KeyPair::generate().map_err(|source| Error::Issue { subject, source })?;
            write(path, &key.serialize_pem(), 0o600)?;
            key
        };
        Self::new(&key).map_err(|source| Error::BadKey { path: PathBuf::from(path), source })
    }

    fn new(key: &KeyPair) -> Result<Self, rcgen::Error> {
        // The uncompressed point: 4, then 32 bytes each of x and y.
        let point = key.public_key_raw();
        if !key.is_compatible(&rcgen::PKCS_ECDSA_P256_SHA256) || point.len() != 65 {
            return Err(rcgen::Error::UnsupportedSignatureAlgorithm);
        }
        let spki = key.subject_public_key_info();
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(&spki));
        let jwk = json!({
            "use": "sig",
            "kty": "EC",
            "kid": id,
            "crv": "P-256",
            "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&point[33..]),
        });
        let mut header = Header::new(Algorithm::ES256);
        header.typ = None;
        header.kid = Some(id);
        let mut validation = Validation::new(Algorithm::ES256);
        // Dates and audience are compared with what the caller gives, not with the library's own clock.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Ok(Self {
            issuer: ISSUER.to_owned(),
            encoding: EncodingKey::from_ec_der(key.serialized_der()),
            decoding: DecodingKey::from_ec_der(point),
            header,
            validation,
            jwk,
            public_pem: key.public_key_pem(),
        })
    }

    /// For a cluster with another domain: tokens are made by, and accepted from, this issuer.
    #[must_use]
    pub fn with_issuer(self, issuer: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), ..self }
    }

    /// The issuer; also the default audience.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Makes a token that expires `lifetime` after `now`. No audience means the API server itself.
    ///
    /// # Errors
    /// When the machine gives no randomness.
    pub fn issue(
        &self,
        binding: Binding,
        audiences: &[String],
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<(String, Claims), jsonwebtoken::errors::Error> {
        let aud = if audiences.is_empty() { vec![self.issuer.clone()] } else { audiences.to_vec() };
        let now = unix(now);
        let claims = Claims {
            aud,
            exp: now.saturating_add(lifetime.as_secs()),
            iat: now,
            iss: self.issuer.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            sub: binding.user(),
            binding,
            nbf: now,
        };
        let token = jsonwebtoken::encode(&self.header, &claims, &self.encoding)?;
        Ok((token, claims))
    }

    /// The claims of a token that is ours, holds at `now`, and is for at least one of the audiences (none given:
    /// for the API server).
    ///
    /// # Errors
    /// Why the token names nobody.
    pub fn verify(&self, token: &str, audiences: &[String], now: SystemTime) -> Result<Claims, TokenError> {
        let data = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation);
        let claims = data.map(|data| data.claims).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => TokenError::Signature,
            _ => TokenError::Malformed,
        })?;
        let now = unix(now);
        let for_us = if audiences.is_empty() {
            claims.aud.contains(&self.issuer)
        } else {
            claims.aud.iter().any(|audience| audiences.contains(audience))
        };
        if claims.iss != self.issuer {
            Err(TokenError::Issuer)
        } else if claims.sub != claims.binding.user() {
            Err(TokenError::Malformed)
        } else if now >= claims.exp {
            Err(TokenError::Expired)
        } else if claims.nbf > now + AHEAD {
            Err(TokenError::NotYetValid)
        } else if !for_us {
            Err(TokenError::Audience)
        } else {
            Ok(claims)
        }
    }

    /// Whether a bearer token claims to be of this issuer; the signature is not looked at. Tells service account
    /// tokens from those of other authenticators.
    #[must_use]
    pub fn is_own(&self, token: &str) -> bool {
        #[derive(Deserialize)]
        struct Issuer {
            iss: String,
        }
        let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        claims
            .and_then(|json| serde_json::from_slice::<Issuer>(&json).ok())
            .is_some_and(|claims| claims.iss == self.issuer)
    }

    /// Identifier of the key: base64url of the SHA-256 of its SubjectPublicKeyInfo.
    #[must_use]
    pub fn key_id(&self) -> &str {
        self.header.kid.as_deref().unwrap_or_default()
    }

    /// The key set that `/openid/v1/jwks` serves (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> Value {
        json!({"keys": [self.jwk]})
    }

    /// The public key, PEM.
    #[must_use]
    pub fn public_key_pem(&self) -> &str {
        &self.public_pem
    }
}

#[cfg(test)]
mod tests;
