//! What the scheduler writes: bindings, and why a pod has none.

use std::sync::Arc;

use copepod_client::error;
use copepod_client::events::Recorder;
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

/// The API side of the scheduler.
#[derive(Clone)]
pub(crate) struct Binder {
    client: Client,
    recorder: Recorder,
}

impl Binder {
    pub(crate) fn new(client: Client, recorder: Recorder) -> Self {
        Self { client, recorder }
    }

    /// Binds the pod to the node; false when that failed, which is told on the pod unless it is gone or bound already.
    pub(crate) async fn bind(&self, pod: &Pod, node: &str) -> bool {
        let Err(error) = self.try_bind(pod, node).await else { return true };
        let (namespace, name) = names(pod);
        tracing::debug!(pod = %format!("{namespace}/{name}"), node, error = %copepod_base::Chain(&error), "binding failed");
        if !error::is_not_found(&error) && !error::is_conflict(&error) {
            let message = format!("binding rejected: {}", copepod_base::Chain(&error));
            self.recorder.warning(pod, "FailedScheduling", message.clone());
            self.condition(pod, "SchedulerError", &message).await;
        }
        false
    }

    /// The uid makes sure that it is still the same pod.
    async fn try_bind(&self, pod: &Pod, node: &str) -> Result<(), kube::Error> {
        let (namespace, name) = names(pod);
        let binding = Binding {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                uid: pod.metadata.uid.clone(),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                kind: Some("Node".into()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let _: serde_json::Value =
            pods.create_subresource("binding", name, &PostParams::default(), &binding).await?;
        let message = format!("Successfully assigned {namespace}/{name} to {node}");
        self.recorder.normal(pod, "Scheduled", message);
        Ok(())
    }

    /// Tells on the pod and by an event why no node can take it.
    pub(crate) async fn unschedulable(&self, pod: Arc<Pod>, message: String) {
        self.recorder.warning(&*pod, "FailedScheduling", message.clone());
        self.condition(&pod, "Unschedulable", &message).await;
    }

    /// Tells on the pod that its scheduling gates are closed (KEP-3521).
    pub(crate) async fn gated(&self, pod: Arc<Pod>) {
        self.condition(&pod, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")
            .await;
    }

    async fn condition(&self, pod: &Pod, reason: &str, message: &str) {
        let old = pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .find(|condition| condition.type_ == "PodScheduled");
        if old.is_some_and(|old| {
            old.status == "False"
                && old.reason.as_deref() == Some(reason)
                && old.message.as_deref() == Some(message)
        }) {
            return;
        }
        let changed_at = match old.filter(|old| old.status == "False") {
            Some(old) => json!(old.last_transition_time),
            None => json!(copepod_client::time::now()),
        };
        let (namespace, name) = names(pod);
        let patch = json!({
            "metadata": {"uid": pod.metadata.uid},
            "status": {"conditions": [{
                "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
                "lastTransitionTime": changed_at,
                "observedGeneration": pod.metadata.generation,
            }]},
        });
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        if let Err(error) = pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            // Somebody deleted or bound it meanwhile, or the next attempt writes it again.
            tracing::debug!(pod = %format!("{namespace}/{name}"), error = %copepod_base::Chain(&error), "cannot set PodScheduled");
        }
    }
}

fn names(pod: &Pod) -> (&str, &str) {
    (pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default())
}
