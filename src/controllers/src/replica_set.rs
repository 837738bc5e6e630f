//! As many pods as a ReplicaSet asks for.
//!
//! Pods belong to a ReplicaSet by the uid in their controller reference, never by labels alone: orphans that match
//! are adopted, own pods that no longer match are let go.

mod plan;
mod sync;

use copepod_client::controller::feed;
use copepod_client::{ObjectKey, Queue, controller, owner};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;

use crate::Context;
use crate::pods;

/// Reconciliations at a time.
const WORKERS: usize = 4;

pub(crate) fn start(context: &Context) {
    let queue: Queue<ObjectKey> = Queue::new();
    let sets = context.informers.get::<ReplicaSet>();
    let pods = context.informers.get::<Pod>();
    pods.index(pods::BY_CONTROLLER, owner::controller_uid).index(pods::ORPHANS, |pod| {
        match owner::controller_of(pod) {
            Some(_) => Vec::new(),
            None => pod.metadata.namespace.clone().into_iter().collect(),
        }
    });
    feed("replica-set-sets", sets.subscribe(), &queue, &context.shutdown, |change| {
        [ObjectKey::of(&**change.object())]
    });
    let of_pods = sets.clone();
    feed("replica-set-pods", pods.subscribe(), &queue, &context.shutdown, move |change| {
        interested(&of_pods, change)
    });
    let sync = sync::Sync::new(context, sets, pods);
    let shutdown = context.shutdown.clone();
    copepod_base::spawn("replica-set", async move {
        controller::run("replica-set", queue, WORKERS, &shutdown, move |key: ObjectKey| {
            sync.clone().reconcile(key)
        })
        .await;
    });
}

/// The ReplicaSets that a change of a pod concerns: its controller before and after; for an orphan all that select it.
fn interested(
    sets: &copepod_client::Informer<ReplicaSet>,
    change: &copepod_client::Change<Pod>,
) -> Vec<ObjectKey> {
    let mut keys = Vec::new();
    let old = match change {
        copepod_client::Change::Updated { old, .. } => Some(old),
        _ => None,
    };
    for pod in old.into_iter().chain([change.object()]) {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        match owner::controller_of(&**pod) {
            Some(owner) if owner.kind == "ReplicaSet" => {
                keys.push(ObjectKey::namespaced(namespace, &owner.name))
            }
            Some(_) => {}
            None if change.is_deleted() => {}
            None => keys.extend(
                sets.list_namespace(&namespace)
                    .iter()
                    .filter(|set| crate::selects(set.spec.as_ref().map(|spec| &spec.selector), &pod.metadata))
                    .map(|set| ObjectKey::of(&**set)),
            ),
        }
    }
    keys.sort();
    keys.dedup();
    keys
}
