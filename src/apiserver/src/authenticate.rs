//! Who sends a request: client certificates, bearer tokens, impersonation.
//!
//! Authenticators are asked in order; the first that knows the credentials decides. Nobody without credentials gets
//! further than health and version.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use copepod_base::clock;
use copepod_pki::ClientAuthenticator;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;

use crate::identity::{AUTHENTICATED, Identity};

mod impersonate;
mod static_token;
mod token;

pub(crate) use impersonate::impersonate;
pub use static_token::StaticToken;
pub(crate) use token::{ServiceAccountTokens, TokenReviewer, uid};

/// Knows bearer tokens of one sort.
#[async_trait]
pub trait TokenAuthenticator: Send + Sync {
    /// The identity of a token, when it is one of this sort and `audiences` are among those it is for (none: the API
    /// server itself). `None` means that it names nobody here.
    async fn authenticate(&self, token: &str, audiences: &[String]) -> Option<Identity>;
}

/// How a request's sender is known.
#[derive(Clone)]
pub(crate) enum Credentials {
    /// The sender is in this process and was given its identity.
    InProcess(Arc<Identity>),
    /// The sender is on a connection.
    Connection(Arc<Peer>),
}

/// How long a verified certificate chain is not verified again.
const CHAIN_FRESH: Duration = Duration::from_secs(60);

/// The other end of a TLS connection.
#[derive(Default)]
pub(crate) struct Peer {
    chain: Vec<CertificateDer<'static>>,
    verified: Mutex<Option<(Instant, Option<Identity>)>>,
}

impl Peer {
    /// A peer that showed this certificate chain, leaf first; empty when it showed none.
    pub(crate) fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self { chain, verified: Mutex::default() }
    }

    /// The identity of the certificate; a long connection outlives no certificate.
    fn identity(&self, authenticator: &ClientAuthenticator) -> Option<Identity> {
        let mut verified = self.verified.lock();
        match &*verified {
            Some((at, identity)) if at.elapsed() < CHAIN_FRESH => identity.clone(),
            _ => {
                let identity = match authenticator.authenticate(&self.chain, clock::now()) {
                    Ok(known) => Some(Identity::new(known.user, known.groups.iter().map(String::as_str))),
                    Err(error) => {
                        tracing::debug!(%error, "client certificate refused");
                        None
                    }
                };
                *verified = Some((clock::instant(), identity.clone()));
                identity
            }
        }
    }
}

/// All ways of knowing a sender.
pub(crate) struct Authentication {
    pub(crate) certificates: Option<ClientAuthenticator>,
    pub(crate) tokens: Vec<Arc<dyn TokenAuthenticator>>,
}

/// What authentication found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// This user.
    Identity(Identity),
    /// No credentials were shown.
    Anonymous,
    /// Credentials were shown, and nobody knows them.
    Refused,
}

impl Authentication {
    /// Who sends a request with these headers.
    pub(crate) async fn authenticate(&self, credentials: &Credentials, headers: &HeaderMap) -> Known {
        let peer = match credentials {
            Credentials::InProcess(identity) => return Known::Identity(Identity::clone(identity)),
            Credentials::Connection(peer) => peer,
        };
        let mut refused = false;
        if let Some(authenticator) = self.certificates.as_ref().filter(|_| !peer.chain.is_empty()) {
            match peer.identity(authenticator) {
                Some(identity) => return Known::Identity(identity),
                None => refused = true,
            }
        }
        if let Some(header) = headers.get(AUTHORIZATION) {
            let token = header.to_str().ok().and_then(bearer);
            if let Some(identity) = self.token(token.unwrap_or_default(), &[]).await {
                return Known::Identity(identity);
            }
            refused = true;
        }
        if refused { Known::Refused } else { Known::Anonymous }
    }

    /// The identity of a bearer token.
    pub(crate) async fn token(&self, token: &str, audiences: &[String]) -> Option<Identity> {
        if token.is_empty() {
            return None;
        }
        for authenticator in &self.tokens {
            if let Some(mut identity) = authenticator.authenticate(token, audiences).await {
                if !identity.in_group(AUTHENTICATED) {
                    identity.groups.push(AUTHENTICATED.to_owned());
                }
                return Some(identity);
            }
        }
        None
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Identifier of a token or certificate in `extra`, as `kubectl auth whoami` shows it.
pub(crate) fn credential_id(kind: &str, id: &str) -> (String, Vec<String>) {
    let mut text = String::with_capacity(kind.len() + 1 + id.len());
    // Writing to a String cannot fail.
    let _ = write!(text, "{kind}={id}");
    ("authentication.kubernetes.io/credential-id".to_owned(), vec![text])
}
