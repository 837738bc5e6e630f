//! Making the Node object, or taking over the one that is there.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::NodeParts;
use crate::machine::architecture;

/// Value of the instance type label.
const INSTANCE_TYPE: &str = "copepod";

/// Labels the agent owns.
fn labels(parts: &NodeParts) -> BTreeMap<String, String> {
    let hostname = parts.config.node_name.as_str();
    let mut labels: BTreeMap<String, String> = [
        ("kubernetes.io/hostname", hostname),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", architecture()),
        ("node.kubernetes.io/instance-type", INSTANCE_TYPE),
        ("beta.kubernetes.io/instance-type", INSTANCE_TYPE),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .collect();
    labels.extend(parts.config.labels.clone());
    labels
}

/// Registers the node. What users have set on an existing one (labels, taints, unschedulable) stays.
pub(super) async fn register(api: &Api<Node>, parts: &NodeParts) -> Result<Node, kube::Error> {
    let name = &parts.config.node_name;
    let labels = labels(parts);
    let Some(existing) = api.get_opt(name).await? else {
        let node = Node {
            metadata: ObjectMeta { name: Some(name.clone()), labels: Some(labels), ..ObjectMeta::default() },
            spec: Some(NodeSpec {
                taints: Some(parts.config.taints.clone()).filter(|t| !t.is_empty()),
                ..NodeSpec::default()
            }),
            status: None,
        };
        return match api.create(&PostParams::default(), &node).await {
            Err(error) if copepod_client::error::is_already_exists(&error) => api.get(name).await,
            other => other,
        };
    };
    let known = existing.metadata.labels.clone().unwrap_or_default();
    let changed: BTreeMap<_, _> = labels.into_iter().filter(|(k, v)| known.get(k) != Some(v)).collect();
    if changed.is_empty() {
        return Ok(existing);
    }
    let patch = json!({"metadata": {"labels": changed}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await
}
