//! ReplicaSets follow a Deployment's template, step by step.
//!
//! * [`template`]: which ReplicaSet belongs to the present template; names, revisions, annotations.
//! * [`rollout`]: how many replicas each ReplicaSet should have now. Pure.
//! * [`status`]: what the Deployment says of itself. Pure.
//! * [`sync`]: the loop around them.

mod rollout;
mod status;
mod sync;
mod template;

use copepod_client::controller::feed;
use copepod_client::{Change, Informer, ObjectKey, Queue, controller, owner};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

use crate::Context;
use crate::pods;

/// Name of the ReplicaSets' index by the uid of their managing controller.
const BY_CONTROLLER: &str = "controller-uid";

/// Reconciliations at a time.
const WORKERS: usize = 4;

pub(crate) fn start(context: &Context) {
    let queue: Queue<ObjectKey> = Queue::new();
    let deployments = context.informers.get::<Deployment>();
    let sets = context.informers.get::<ReplicaSet>();
    let pods = context.informers.get::<Pod>();
    sets.index(BY_CONTROLLER, owner::controller_uid);
    pods.index(pods::BY_CONTROLLER, owner::controller_uid);
    feed("deployment-deployments", deployments.subscribe(), &queue, &context.shutdown, |change| {
        [ObjectKey::of(&**change.object())]
    });
    let of_sets = deployments.clone();
    feed("deployment-sets", sets.subscribe(), &queue, &context.shutdown, move |change| {
        interested(&of_sets, change)
    });
    // `Recreate` makes new pods only when the last old one has ended.
    let of_pods = sets.clone();
    feed("deployment-pods", pods.subscribe(), &queue, &context.shutdown, move |change| {
        let pod = change.object();
        if !(change.is_deleted() || pods::is_finished(pod)) {
            return None;
        }
        let owner = owner::controller_of(&**pod).filter(|owner| owner.kind == "ReplicaSet")?;
        let set = of_pods.get(pod.metadata.namespace.as_deref(), &owner.name)?;
        let deployment = owner::controller_of(&*set).filter(|owner| owner.kind == "Deployment")?;
        Some(ObjectKey { namespace: set.metadata.namespace.clone(), name: deployment.name.clone() })
    });
    let sync = sync::Sync::new(context, deployments, sets, pods);
    let shutdown = context.shutdown.clone();
    copepod_base::spawn("deployment", async move {
        controller::run("deployment", queue, WORKERS, &shutdown, move |key: ObjectKey| {
            sync.clone().reconcile(key)
        })
        .await;
    });
}

/// The Deployments that a change of a ReplicaSet concerns.
fn interested(deployments: &Informer<Deployment>, change: &Change<ReplicaSet>) -> Vec<ObjectKey> {
    let old = match change {
        Change::Updated { old, .. } => Some(old),
        _ => None,
    };
    let mut keys = Vec::new();
    for set in old.into_iter().chain([change.object()]) {
        let namespace = set.metadata.namespace.clone().unwrap_or_default();
        match owner::controller_of(&**set) {
            Some(owner) if owner.kind == "Deployment" => {
                keys.push(ObjectKey::namespaced(namespace, &owner.name))
            }
            Some(_) => {}
            None if change.is_deleted() => {}
            None => keys.extend(
                deployments
                    .list_namespace(&namespace)
                    .iter()
                    .filter(|deployment| {
                        crate::selects(deployment.spec.as_ref().map(|spec| &spec.selector), &set.metadata)
                    })
                    .map(|deployment| ObjectKey::of(&**deployment)),
            ),
        }
    }
    keys.sort();
    keys.dedup();
    keys
}
