//! Service account tokens: the signature says who made them, the store whether what they are bound to still exists.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use copepod_api::meta::Meta;
use copepod_api::scan;
use copepod_base::clock;
use copepod_pki::service_account::{Binding, Reference, Signer};
use copepod_store::Store;

use super::{TokenAuthenticator, credential_id};
use crate::identity::Identity;

/// Knows tokens that this cluster signed.
pub(crate) struct ServiceAccountTokens {
    signer: Arc<Signer>,
    store: Arc<dyn Store>,
}

/// What a TokenReview needs of a token besides the identity: the audiences that it is good for.
pub(crate) trait TokenReviewer {
    /// The audiences of a token that verifies.
    fn audiences(&self, token: &str, audiences: &[String]) -> Option<Vec<String>>;
}

impl ServiceAccountTokens {
    pub(crate) fn new(signer: Arc<Signer>, store: Arc<dyn Store>) -> Self {
        Self { signer, store }
    }

    /// Whether the object that a token refers to is there with the same uid, and is not long deleted.
    async fn exists(&self, key: String, reference: &Reference) -> bool {
        let Ok((Some(record), _)) = self.store.get(&key).await else { return false };
        Meta::parse(&record.value).is_ok_and(|meta| *meta.uid == *reference.uid)
    }

    async fn bound_objects_exist(&self, binding: &Binding) -> bool {
        let namespace = &binding.namespace;
        let account = &binding.serviceaccount;
        if !self.exists(format!("/registry/core/serviceaccounts/{namespace}/{}", account.name), account).await
        {
            return false;
        }
        for (plural, reference) in [("pods", &binding.pod), ("secrets", &binding.secret)] {
            let Some(reference) = reference else { continue };
            let key = format!("/registry/core/{plural}/{namespace}/{}", reference.name);
            if !self.exists(key, reference).await {
                return false;
            }
        }
        match &binding.node {
            // The node of a pod is information; a token of its own for a node dies with it.
            Some(node) if binding.pod.is_none() => {
                self.exists(format!("/registry/core/nodes/{}", node.name), node).await
            }
            _ => true,
        }
    }
}

impl TokenReviewer for Signer {
    fn audiences(&self, token: &str, audiences: &[String]) -> Option<Vec<String>> {
        let claims = self.verify(token, audiences, clock::now()).ok()?;
        if audiences.is_empty() {
            return Some(vec![self.issuer().to_owned()]);
        }
        Some(audiences.iter().filter(|audience| claims.aud.contains(audience)).cloned().collect())
    }
}

#[async_trait]
impl TokenAuthenticator for ServiceAccountTokens {
    async fn authenticate(&self, token: &str, audiences: &[String]) -> Option<Identity> {
        if !self.signer.is_own(token) {
            return None;
        }
        let claims = match self.signer.verify(token, audiences, clock::now()) {
            Ok(claims) => claims,
            Err(error) => {
                tracing::debug!(%error, "service account token refused");
                return None;
            }
        };
        let binding = claims.binding;
        if !self.bound_objects_exist(&binding).await {
            tracing::debug!(user = binding.user(), "token of a deleted account or pod refused");
            return None;
        }
        let mut extra = BTreeMap::from([credential_id("JTI", &claims.jti)]);
        let mut put = |name: &str, value: &str| {
            extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value.to_owned()]);
        };
        if let Some(pod) = &binding.pod {
            put("pod-name", &pod.name);
            put("pod-uid", &pod.uid);
        }
        if let Some(node) = &binding.node {
            put("node-name", &node.name);
            put("node-uid", &node.uid);
        }
        let mut identity = Identity::new(binding.user(), binding.groups().iter().map(String::as_str));
        identity.uid = binding.serviceaccount.uid;
        identity.extra = extra;
        Some(identity)
    }
}

/// The uid in a stored object's metadata.
pub(crate) fn uid(object: &[u8]) -> Option<String> {
    scan::get(object, &["metadata", "uid"]).and_then(scan::text).map(|uid| uid.into_owned())
}
