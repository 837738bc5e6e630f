//! Pods that nobody else removes: of nodes that are gone, deleted before they were ever placed, and finished ones
//! when there are too many.

use std::sync::Arc;

use copepod_client::controller::{Action, feed};
use copepod_client::{Informer, Queue, controller, error};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use crate::{Context, pods};

/// Finished pods beyond this number go, oldest first (`--terminated-pod-gc-threshold` of kube-controller-manager).
const FINISHED_AT_MOST: usize = 12_500;

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
        let shutdown = context.shutdown.clone();
        controller::run("pod-gc", queue, 1, &shutdown, move |_| {
            let (context, nodes, pods) = (context.clone(), nodes.clone(), pods.clone());
            async move { collect(&context, &nodes, &pods).await }
        })
        .await;
    });
}

/// Deleted before a node was chosen: no agent will ever confirm that it has ended.
fn is_never_placed(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && node_of(pod).is_none() && !pods::is_finished(pod)
}

fn is_orphaned(pod: &Pod, nodes: &Informer<Node>) -> bool {
    node_of(pod).is_some_and(|node| nodes.get(None, node).is_none())
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

async fn collect(
    context: &Context,
    nodes: &Informer<Node>,
    pods: &Informer<Pod>,
) -> Result<Action, kube::Error> {
    nodes.synced().await;
    pods.synced().await;
    let all = pods.list();
    for pod in all.iter().filter(|pod| is_never_placed(pod)) {
        delete(context, pod).await?;
    }
    let api: Api<Node> = Api::all(context.client.clone());
    for pod in all.iter().filter(|pod| is_orphaned(pod, nodes)) {
        // The cache of nodes may be behind the cache of pods: only the API knows that the node is gone.
        if api.get_opt(node_of(pod).unwrap_or_default()).await?.is_none() {
            if !pods::is_finished(pod) {
                mark_lost(context, pod).await?;
            }
            delete(context, pod).await?;
        }
    }
    let mut finished: Vec<_> = all.iter().filter(|pod| pods::is_finished(pod)).collect();
    let surplus = finished.len().saturating_sub(FINISHED_AT_MOST);
    finished.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    for pod in finished.into_iter().take(surplus) {
        delete(context, pod).await?;
    }
    Ok(Action::Done)
}

/// Tells what became of a pod whose node is gone, for whoever counts failures (KEP-3329).
async fn mark_lost(context: &Context, pod: &Pod) -> Result<(), kube::Error> {
    let patch = json!({
    "metadata": {"uid": pod.metadata.uid},
    "status": {"phase": "Failed", "conditions": [{
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
        "message": "PodGC: node no longer exists", "lastTransitionTime": copepod_client::time::now(),
        "observedGeneration": pod.metadata.generation,
    }]}});
    let result =
        api(context, pod).patch_status(name(pod), &PatchParams::default(), &Patch::Strategic(patch)).await;
    gone_is_fine(result)
}

async fn delete(context: &Context, pod: &Arc<Pod>) -> Result<(), kube::Error> {
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    tracing::info!(pod = %format!("{}/{}", pod.metadata.namespace.as_deref().unwrap_or_default(), name(pod)), "pod collected");
    gone_is_fine(api(context, pod).delete(name(pod), &params).await)
}

fn gone_is_fine<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error::is_not_found(&error) || error::is_conflict(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

fn api(context: &Context, pod: &Pod) -> Api<Pod> {
    Api::namespaced(context.client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default())
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}
