//! The label by which `kubectl get nodes` shows that a machine runs a server.
//!
//! An agent may not give itself this label (NodeRestriction), so the server does it.

use copepod_base::{Chain, Shutdown};
use copepod_client::{Client, Informers, Scope};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

const LABEL: &str = "node-role.kubernetes.io/control-plane";

/// Labels the node of this name whenever it appears without the label.
pub(crate) async fn keep(client: Client, node: String, shutdown: Shutdown) {
    let scope = Scope { fields: Some(format!("metadata.name={node}")), labels: None };
    let nodes = Informers::new(client.clone(), &shutdown).scoped::<Node>(scope);
    let api: Api<Node> = Api::all(client);
    let mut changes = nodes.subscribe();
    while let Some(change) = changes.recv().await {
        let labels = change.object().metadata.labels.as_ref();
        if change.is_deleted() || labels.is_some_and(|labels| labels.contains_key(LABEL)) {
            continue;
        }
        let patch = Patch::Merge(json!({"metadata": {"labels": {(LABEL): "true"}}}));
        if let Err(error) = api.patch(&node, &PatchParams::default(), &patch).await {
            tracing::warn!(node, error = %Chain(&error), "cannot label the node as a server");
        }
    }
}
