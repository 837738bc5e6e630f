//! Pods that nobody else removes: of nodes that are gone, deleted before they were ever placed, and finished ones
//! when there are too many.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use copepod_client::controller::{Action, feed};
use copepod_client::{Informer, ObjectKey, Queue, controller};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::{Context, pods, still_there};

/// Finished pods beyond this number go, oldest first (`--terminated-pod-gc-threshold` of kube-controller-manager).
const FINISHED_AT_MOST: usize = 12_500;

/// How long a node must be gone before its pods go: it may come back under its name, as when somebody deletes the Node
/// of a machine that runs (kube-controller-manager's quarantine).
const QUARANTINE: Duration = Duration::from_secs(40);

/// One pass looks at everything; there is one key.
const ALL: &str = "all";

pub(crate) fn start(context: &Context) {
    let queue: Queue<&'static str> = Queue::new();
    let nodes = context.informers.get::<Node>();
    let pods = context.informers.get::<Pod>();
    feed("pod-gc-nodes", nodes.subscribe(), &queue, &context.shutdown, |change| {
        change.is_deleted().then_some(ALL)
    });
    let known = nodes.clone();
    let finished = pods.clone();
    feed("pod-gc-pods", pods.subscribe(), &queue, &context.shutdown, move |change| {
        let pod = change.object();
        let concerns = !change.is_deleted()
            && (is_never_placed(pod)
                || (known.is_synced() && is_orphaned(pod, &known))
                || (pods::is_finished(pod) && finished.len() > FINISHED_AT_MOST));
        concerns.then_some(ALL)
    });
    queue.add(ALL);
    let context = context.clone();
    copepod_base::spawn("pod-gc", async move {
        let (shutdown, missed) = (context.shutdown.clone(), Missed::default());
        controller::run("pod-gc", queue, 1, &shutdown, move |_| {
            let pass = Pass { context: context.clone(), nodes: nodes.clone(), pods: pods.clone() };
            let missed = missed.clone();
            async move { pass.collect(&missed).await }
        })
        .await;
    });
}

/// Deleted before a node was chosen: no agent will ever confirm that it has ended.
fn is_never_placed(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && pods::node_of(pod).is_none() && !is_let_go(pod)
}

fn is_orphaned(pod: &Pod, nodes: &Informer<Node>) -> bool {
    !is_let_go(pod) && pods::node_of(pod).is_some_and(|node| nodes.get(None, node).is_none())
}

/// Deleted without grace already: finalizers hold it, and deleting it again would change nothing.
fn is_let_go(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && pod.metadata.deletion_grace_period_seconds == Some(0)
}

/// Since when nodes that pods name are missing.
type Missed = Arc<Mutex<HashMap<String, Instant>>>;

struct Pass {
    context: Context,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
}

impl Pass {
    /// Looks at all pods. One that cannot be removed does not keep the others; the last failure is given back.
    async fn collect(&self, missed: &Missed) -> Result<Action, kube::Error> {
        self.nodes.synced().await;
        self.pods.synced().await;
        let all = self.pods.list();
        let mut result = Ok(Action::Done);
        let mut note = |outcome: Result<(), kube::Error>| {
            if let Err(error) = outcome {
                result = Err(error);
            }
        };
        for pod in all.iter().filter(|pod| is_never_placed(pod)) {
            note(self.delete(pod).await);
        }
        let mut finished: Vec<_> = all.iter().filter(|pod| pods::is_finished(pod)).collect();
        let surplus = finished.len().saturating_sub(FINISHED_AT_MOST);
        finished.sort_by_key(|pod| (!is_evicted(pod), pod.metadata.creation_timestamp.as_ref().map(|t| t.0)));
        for pod in finished.into_iter().take(surplus) {
            note(self.delete(pod).await);
        }
        let orphaned: Vec<_> = all.iter().filter(|pod| is_orphaned(pod, &self.nodes)).collect();
        let (gone, wait) = overdue(missed, &orphaned, copepod_base::clock::instant());
        for pod in orphaned {
            if pods::node_of(pod).is_some_and(|node| gone.iter().any(|gone| gone == node)) {
                note(self.collect_orphan(pod).await);
            }
        }
        result?;
        Ok(wait.map_or(Action::Done, Action::RequeueAfter))
    }

    async fn collect_orphan(&self, pod: &Pod) -> Result<(), kube::Error> {
        let api: Api<Node> = Api::all(self.context.client.clone());
        // The cache of nodes may be behind the cache of pods: only the API knows that the node is gone.
        if api.get_opt(pods::node_of(pod).unwrap_or_default()).await?.is_some() {
            return Ok(());
        }
        if !pods::is_finished(pod) {
            self.mark_lost(pod).await?;
        }
        self.delete(pod).await
    }

    /// Tells what became of a pod whose node is gone, for whoever counts failures (KEP-3329).
    async fn mark_lost(&self, pod: &Pod) -> Result<(), kube::Error> {
        let patch = json!({
        "metadata": {"uid": pod.metadata.uid},
        "status": {"phase": "Failed", "conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists", "lastTransitionTime": copepod_client::time::now(),
            "observedGeneration": pod.metadata.generation,
        }]}});
        let key = ObjectKey::of(pod);
        let result =
            self.api(&key).patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        still_there(result).map(|_| ())
    }

    async fn delete(&self, pod: &Pod) -> Result<(), kube::Error> {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        let key = ObjectKey::of(pod);
        tracing::info!(pod = %key, "pod collected");
        still_there(self.api(&key).delete(&key.name, &params).await).map(|_| ())
    }

    fn api(&self, key: &ObjectKey) -> Api<Pod> {
        Api::namespaced(self.context.client.clone(), key.namespace())
    }
}

/// Evicted pods go before those that ended by themselves.
fn is_evicted(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.reason.as_deref()) == Some("Evicted")
}

/// The missing nodes of these pods whose quarantine is over, and when the next one's will be.
fn overdue(missed: &Missed, orphaned: &[&Arc<Pod>], now: Instant) -> (Vec<String>, Option<Duration>) {
    let mut missed = missed.lock();
    let is_missing = |node: &str| orphaned.iter().any(|pod| pods::node_of(pod) == Some(node));
    missed.retain(|node, _| is_missing(node));
    for node in orphaned.iter().filter_map(|pod| pods::node_of(pod)) {
        if !missed.contains_key(node) {
            missed.insert(node.to_owned(), now);
        }
    }
    let left = |since: &Instant| QUARANTINE.saturating_sub(now.duration_since(*since));
    let gone =
        missed.iter().filter(|(_, since)| left(since).is_zero()).map(|(node, _)| node.clone()).collect();
    (gone, missed.values().map(left).filter(|left| !left.is_zero()).min())
}
