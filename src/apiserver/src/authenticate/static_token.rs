//! A fixed token for one identity.

use async_trait::async_trait;

use super::TokenAuthenticator;
use crate::identity::Identity;

/// Knows one token, such as the cluster's join token.
pub struct StaticToken {
    token: String,
    identity: Identity,
}

impl StaticToken {
    /// Whoever shows `token` is `identity`.
    #[must_use]
    pub fn new(token: impl Into<String>, identity: Identity) -> Self {
        Self { token: token.into(), identity }
    }
}

#[async_trait]
impl TokenAuthenticator for StaticToken {
    async fn authenticate(&self, token: &str, audiences: &[String]) -> Option<Identity> {
        (audiences.is_empty() && same(token.as_bytes(), self.token.as_bytes())).then(|| self.identity.clone())
    }
}

/// Compares in a time that does not tell where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    !b.is_empty() && a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
}
