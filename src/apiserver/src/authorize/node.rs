//! What a node's agent may do (KEP-279): its own Node, Lease and pods, and what those pods refer to.
//!
//! References are looked up in the store when they are asked for, so that an agent that just saw its pod is never
//! refused by an index that is behind. That admission lets a node write only what is its own is in
//! [`crate::admission`].

use std::sync::Arc;

use async_trait::async_trait;
use copepod_api::scan;
use copepod_store::{Range, Store};
use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::rules::{ResourceRule, RuleSet};
use super::{Attributes, Authorizer, Decision, Target};
use crate::identity::{Identity, NODES};

const LEASES: &str = "kube-node-lease";
/// Pods are looked through in pages of this many.
const PAGE: usize = 256;

/// What a node may do with any object of a kind; `verbs | groups | resources`.
const RULES: &[(&str, &str, &str)] = &[
    ("create patch update", "core events.k8s.io", "events"),
    ("get list watch", "core", "services nodes endpoints"),
    ("create", "core", "nodes pods"),
    // Admission lets a node do these only to what is its own.
    ("delete", "core", "pods"),
    ("patch update", "core", "pods/status"),
    ("create", "core", "pods/eviction"),
    ("get list watch", "discovery.k8s.io", "endpointslices"),
    ("get list watch", "node.k8s.io", "runtimeclasses"),
    ("get list watch", "storage.k8s.io", "csidrivers"),
    ("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
    ("create", "authentication.k8s.io", "tokenreviews"),
    ("create", "authorization.k8s.io", "subjectaccessreviews localsubjectaccessreviews"),
];

/// Decides for members of `system:nodes`.
pub(crate) struct NodeAuthorizer {
    store: Arc<dyn Store>,
    rules: RuleSet,
}

impl NodeAuthorizer {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let resources = RULES.iter().map(|(v, g, r)| ResourceRule::new(v, g, r)).collect();
        Self { store, rules: RuleSet { resources, paths: Vec::new() } }
    }

    /// Whether a pod on the node in the namespace fulfils `refers`.
    async fn any_pod(&self, node: &str, namespace: &str, refers: impl Fn(&PodSpec) -> bool) -> bool {
        let prefix = if namespace.is_empty() {
            "/registry/core/pods/".to_owned()
        } else {
            format!("/registry/core/pods/{namespace}/")
        };
        let mut after = None;
        loop {
            let range = Range { prefix: prefix.clone(), after, limit: PAGE, revision: None };
            let Ok(page) = self.store.range(range).await else { return false };
            for record in &page.records {
                if on_node(&record.value, node)
                    && serde_json::from_slice::<Pod>(&record.value)
                        .is_ok_and(|pod| pod.spec.as_ref().is_some_and(&refers))
                {
                    return true;
                }
            }
            match page.records.last() {
                Some(last) if page.remaining > 0 => after = Some(last.key.to_string()),
                _ => return false,
            }
        }
    }

    /// Whether a claim on the node's pods is bound to the volume.
    async fn uses_volume(&self, node: &str, volume: &str) -> bool {
        let Ok((Some(record), _)) =
            self.store.get(&format!("/registry/core/persistentvolumes/{volume}")).await
        else {
            return false;
        };
        let text = |path: &[&str]| scan::get(&record.value, path).and_then(scan::text);
        let (Some(namespace), Some(claim)) =
            (text(&["spec", "claimRef", "namespace"]), text(&["spec", "claimRef", "name"]))
        else {
            return false;
        };
        self.any_pod(node, &namespace, |spec| refers_to_claim(spec, &claim)).await
    }

    async fn related(&self, node: &str, attributes: &Attributes<'_>) -> Option<bool> {
        let Target::Resource { group, resource, subresource, name, namespace, fields, .. } =
            attributes.target
        else {
            return None;
        };
        let namespace = namespace.unwrap_or_default();
        let reads = matches!(attributes.verb, "get" | "list" | "watch");
        let own = name == node;
        Some(match (group, resource, subresource) {
            ("", "nodes", "" | "status") => own && matches!(attributes.verb, "update" | "patch" | "delete"),
            ("coordination.k8s.io", "leases", "") => {
                namespace == LEASES
                    && (attributes.verb == "create"
                        || (own && !matches!(attributes.verb, "list" | "deletecollection")))
            }
            ("storage.k8s.io", "csinodes", "") => own || attributes.verb == "create",
            ("", "pods", "") if attributes.verb == "get" => {
                let key = format!("/registry/core/pods/{namespace}/{name}");
                // A pod that is gone may be asked for: the agent must learn that it is gone.
                matches!(self.store.get(&key).await, Ok((record, _)) if record.as_ref().is_none_or(|r| on_node(&r.value, node)))
            }
            ("", "pods", "") if reads => fields.and_then(|f| f.exact("spec.nodeName")) == Some(node),
            ("", "secrets", "") if reads && !name.is_empty() => {
                self.any_pod(node, namespace, |spec| refers_to_secret(spec, name)).await
            }
            ("", "configmaps", "") if reads && !name.is_empty() => {
                self.any_pod(node, namespace, |spec| refers_to_config_map(spec, name)).await
            }
            ("", "persistentvolumeclaims", "") if attributes.verb == "get" => {
                self.any_pod(node, namespace, |spec| refers_to_claim(spec, name)).await
            }
            ("", "persistentvolumes", "") if attributes.verb == "get" => self.uses_volume(node, name).await,
            ("", "serviceaccounts", "token") if attributes.verb == "create" => {
                self.any_pod(node, namespace, |spec| account(spec) == name).await
            }
            ("", "serviceaccounts", "") if attributes.verb == "get" => {
                self.any_pod(node, namespace, |spec| account(spec) == name).await
            }
            ("storage.k8s.io", "volumeattachments", "") if attributes.verb == "get" => {
                let key = format!("/registry/storage.k8s.io/volumeattachments/{name}");
                matches!(self.store.get(&key).await, Ok((Some(r), _)) if on_node(&r.value, node))
            }
            _ => return None,
        })
    }
}

/// Whether `spec.nodeName` of a stored object is the node.
pub(crate) fn on_node(object: &[u8], node: &str) -> bool {
    scan::get(object, &["spec", "nodeName"]).and_then(scan::text).is_some_and(|name| name == node)
}

fn account(spec: &PodSpec) -> &str {
    spec.service_account_name.as_deref().unwrap_or("default")
}

fn refers_to_claim(spec: &PodSpec, name: &str) -> bool {
    spec.volumes.iter().flatten().any(|volume| {
        volume.persistent_volume_claim.as_ref().is_some_and(|claim| claim.claim_name == name)
            || (volume.ephemeral.is_some() && name.ends_with(&format!("-{}", volume.name)))
    })
}

fn refers_to_secret(spec: &PodSpec, name: &str) -> bool {
    let is = |text: Option<&str>| text == Some(name);
    spec.image_pull_secrets.iter().flatten().any(|secret| secret.name == name)
        || environment(spec).any(|env| env.1 == Some(name))
        || spec.volumes.iter().flatten().any(|volume| {
            is(volume.secret.as_ref().and_then(|s| s.secret_name.as_deref()))
                || volume
                    .projected
                    .iter()
                    .flat_map(|p| p.sources.iter().flatten())
                    .any(|source| source.secret.as_ref().is_some_and(|secret| secret.name == name))
                || is(volume
                    .csi
                    .as_ref()
                    .and_then(|csi| csi.node_publish_secret_ref.as_ref().map(|s| s.name.as_str())))
        })
}

fn refers_to_config_map(spec: &PodSpec, name: &str) -> bool {
    environment(spec).any(|env| env.0 == Some(name))
        || spec.volumes.iter().flatten().any(|volume| {
            volume.config_map.as_ref().is_some_and(|map| map.name == name)
                || volume
                    .projected
                    .iter()
                    .flat_map(|p| p.sources.iter().flatten())
                    .any(|source| source.config_map.as_ref().is_some_and(|map| map.name == name))
        })
}

/// Config map and secret names that environment variables refer to.
fn environment(spec: &PodSpec) -> impl Iterator<Item = (Option<&str>, Option<&str>)> {
    let ordinary = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .map(|c| (c.env.as_ref(), c.env_from.as_ref()));
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|c| (c.env.as_ref(), c.env_from.as_ref()));
    ordinary.chain(ephemeral).flat_map(|(env, from)| {
        let single = env.into_iter().flatten().filter_map(|env| env.value_from.as_ref()).map(|from| {
            (
                from.config_map_key_ref.as_ref().map(|r| r.name.as_str()),
                from.secret_key_ref.as_ref().map(|r| r.name.as_str()),
            )
        });
        let whole = from.into_iter().flatten().map(|from| {
            (
                from.config_map_ref.as_ref().map(|r| r.name.as_str()),
                from.secret_ref.as_ref().map(|r| r.name.as_str()),
            )
        });
        single.chain(whole)
    })
}

#[async_trait]
impl Authorizer for NodeAuthorizer {
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let Some(node) = attributes.identity.node_name() else { return Decision::NoOpinion(String::new()) };
        if self.rules.allows(attributes.verb, &attributes.target) {
            return Decision::Allow;
        }
        match self.related(node, attributes).await {
            Some(true) => Decision::Allow,
            Some(false) => {
                Decision::NoOpinion(format!("no relationship found between node '{node}' and this object"))
            }
            None => Decision::NoOpinion(String::new()),
        }
    }

    async fn rules(&self, identity: &Identity, _: &str) -> RuleSet {
        if identity.in_group(NODES) { self.rules.clone() } else { RuleSet::default() }
    }
}
