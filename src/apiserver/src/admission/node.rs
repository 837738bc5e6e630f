//! NodeRestriction: a node's agent writes only what is its own (KEP-279).

use async_trait::async_trait;
use copepod_api::scan;
use copepod_api::status::ApiError;
use copepod_api::strategy::Object;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::service_account::MIRROR;
use super::{Admission, Operation, Request, typed};
use crate::authenticate::uid;
use crate::authorize::on_node;
use crate::storage;

/// Labels below this are for the cluster's administrator alone.
const RESTRICTED_DOMAIN: &str = "node-restriction.kubernetes.io";
/// Labels of Kubernetes that an agent may set on its node.
const OWN_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "node.kubernetes.io/windows-build",
];
const OWN_DOMAINS: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

pub(super) struct NodeRestriction;

#[async_trait]
impl Admission for NodeRestriction {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.identity().node_name().is_some()
    }

    async fn validate(
        &self,
        request: &Request<'_>,
        object: Option<&dyn Object>,
        old: Option<&dyn Object>,
    ) -> Result<(), ApiError> {
        let Some(node) = request.identity().node_name() else { return Ok(()) };
        let group = request.kind.gvk.group.as_ref();
        match (group, request.kind.gvk.kind.as_ref(), request.subresource) {
            ("", "Pod", "") => pod(request, node, object, old),
            ("", "Pod", "status") => own_pod(request, node, old, "update status for"),
            ("", "Pod", "eviction") => {
                let key = request.kind.key(request.namespace, request.name);
                let store = &request.state().store;
                let (pod, _) = store.get(&key).await.map_err(|e| storage::failure(&e))?;
                match pod {
                    Some(pod) if !on_node(&pod.value, node) => Err(request.forbidden(&format!(
                        "node {node:?} can only evict pods with spec.nodeName set to itself"
                    ))),
                    _ => Ok(()),
                }
            }
            ("", "Node", _) => own_node(request, node, object, old),
            ("", "ServiceAccount", "token") => Ok(()),
            ("coordination.k8s.io", "Lease", _) => {
                if request.namespace != Some("kube-node-lease") {
                    return Err(request
                        .forbidden("can only access leases in the \"kube-node-lease\" system namespace"));
                }
                if request.name != node {
                    return Err(request
                        .forbidden("can only access node lease with the same name as the requesting node"));
                }
                Ok(())
            }
            ("storage.k8s.io", "CSINode", _) if request.name != node => {
                Err(request.forbidden("can only access CSINode with the same name as the requesting node"))
            }
            _ => Ok(()),
        }
    }
}

fn own_pod(request: &Request<'_>, node: &str, old: Option<&dyn Object>, verb: &str) -> Result<(), ApiError> {
    let bound = old
        .and_then(typed::<Pod>)
        .and_then(|pod| pod.spec.as_ref()?.node_name.as_deref())
        .is_some_and(|name| name == node);
    if bound {
        return Ok(());
    }
    Err(request.forbidden(&format!("node {node:?} can only {verb} pods with spec.nodeName set to itself")))
}

/// An agent creates only mirrors of its own pods, and deletes only its own.
fn pod(
    request: &Request<'_>,
    node: &str,
    object: Option<&dyn Object>,
    old: Option<&dyn Object>,
) -> Result<(), ApiError> {
    match request.operation {
        Operation::Delete { .. } => own_pod(request, node, old, "delete"),
        Operation::Create { .. } => {
            let Some(pod) = object.and_then(typed::<Pod>) else { return Ok(()) };
            if !pod.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(MIRROR)) {
                return Err(request.forbidden(&format!(
                    "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
                )));
            }
            if pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) != Some(node) {
                return Err(request.forbidden(&format!(
                    "node {node:?} can only create pods with spec.nodeName set to itself"
                )));
            }
            let owned = pod.metadata.owner_references.as_deref().unwrap_or_default();
            let own = |owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| {
                owner.kind == "Node" && owner.name == node && owner.controller == Some(true)
            };
            if owned.len() != 1 || !own(&owned[0]) {
                return Err(request.forbidden(&format!(
                    "node {node:?} can only create pods with an owner reference set to itself"
                )));
            }
            Ok(())
        }
        _ => Err(request.forbidden(&format!("unexpected operation of node {node:?} on a pod"))),
    }
}

fn own_node(
    request: &Request<'_>,
    node: &str,
    object: Option<&dyn Object>,
    old: Option<&dyn Object>,
) -> Result<(), ApiError> {
    if request.name != node {
        return Err(
            request.forbidden(&format!("node {node:?} is not allowed to modify node {:?}", request.name))
        );
    }
    let Some(new) = object.and_then(typed::<Node>) else { return Ok(()) };
    let before = old.and_then(typed::<Node>);
    if new.spec.as_ref().is_some_and(|s| s.config_source.is_some())
        && before.is_none_or(|b| b.spec.as_ref().is_none_or(|s| s.config_source.is_none()))
    {
        return Err(request
            .forbidden(&format!("node {node:?} is not allowed to create pods with a non-nil configSource")));
    }
    let labels = |node: &Node| node.metadata.labels.clone().unwrap_or_default();
    let (now, then) = (labels(new), before.map(labels).unwrap_or_default());
    let mut refused: Vec<&str> = now
        .iter()
        .filter(|(key, value)| then.get(*key) != Some(value))
        .map(|(key, _)| key.as_str())
        .chain(then.keys().filter(|key| !now.contains_key(*key)).map(String::as_str))
        .filter(|key| !may_label(key))
        .collect();
    refused.sort_unstable();
    refused.dedup();
    if !refused.is_empty() {
        return Err(request.forbidden(&format!("is not allowed to modify labels: {}", refused.join(", "))));
    }
    if let Some(before) = before {
        let taints = |node: &Node| node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
        if taints(before) != taints(new) {
            return Err(request.forbidden(&format!("node {node:?} is not allowed to modify taints")));
        }
        if new.metadata.owner_references != before.metadata.owner_references {
            return Err(request.forbidden(&format!("node {node:?} is not allowed to modify ownerReferences")));
        }
    }
    Ok(())
}

/// Whether an agent may set a label on its node.
fn may_label(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return true };
    let below = |parent: &str| {
        domain == parent || domain.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
    };
    if below(RESTRICTED_DOMAIN) {
        return false;
    }
    if !below("kubernetes.io") && !below("k8s.io") {
        return true;
    }
    OWN_LABELS.contains(&key) || OWN_DOMAINS.iter().any(|own| below(own))
}

/// Whether a node may have a token for an account: only one bound to a pod of the account on the node.
pub(crate) fn token_bound_to_own_pod(pod: &[u8], node: &str, account: &str, wanted_uid: &str) -> bool {
    on_node(pod, node)
        && uid(pod).as_deref() == Some(wanted_uid)
        && scan::get(pod, &["spec", "serviceAccountName"]).and_then(scan::text).as_deref() == Some(account)
}
