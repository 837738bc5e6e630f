//! The Node object as it is made.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSpec};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use super::NodeConfig;
use super::machine::Machine;

/// Labels that every node has (well-known labels of the API).
pub(super) fn labels(config: &NodeConfig, machine: &Machine) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = [
        ("kubernetes.io/hostname", config.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", machine.architecture),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", machine.architecture),
        ("node.kubernetes.io/instance-type", "copepod"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect();
    labels.extend(config.labels.iter().cloned());
    labels
}

/// Makes the Node, or brings the labels of an existing one up to date. What people set on it, and its taints, stay.
pub(super) async fn register(api: &Api<Node>, config: &NodeConfig, machine: &Machine) -> Result<Node, kube::Error> {
    let wanted = labels(config, machine);
    if let Some(node) = api.get_opt(&config.name).await? {
        let have = node.metadata.labels.as_ref();
        let same = wanted.iter().all(|(key, value)| have.and_then(|labels| labels.get(key)) == Some(value));
        if same {
            return Ok(node);
        }
        let patch = json!({"metadata": {"labels": wanted}});
        return api.patch(&config.name, &PatchParams::default(), &Patch::Merge(patch)).await;
    }
    let node = Node {
        metadata: ObjectMeta { name: Some(config.name.clone()), labels: Some(wanted), ..ObjectMeta::default() },
        spec: Some(NodeSpec {
            taints: (!config.taints.is_empty()).then(|| config.taints.clone()),
            ..NodeSpec::default()
        }),
        status: None,
    };
    let created = api.create(&PostParams::default(), &node).await?;
    tracing::info!(node = config.name, "node registered");
    Ok(created)
}
