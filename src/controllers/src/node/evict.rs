//! Pods leave a node with a `NoExecute` taint that they do not tolerate, or tolerate only for a time.

use std::time::Duration;

use copepod_api::taints::tolerates;
use copepod_client::controller::{Action, feed};
use copepod_client::{Change, Informer, ObjectKey, Queue, controller, error};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use crate::{Context, pods};

/// Name of the pods' index by node.
const BY_NODE: &str = "node";

pub(super) fn start(context: &Context) {
    let queue: Queue<ObjectKey> = Queue::new();
    let nodes = context.informers.get::<Node>();
    let pods = context.informers.get::<Pod>();
    pods.index(BY_NODE, |pod| node_of(pod).map(ToOwned::to_owned).into_iter().collect());
    let of_nodes = pods.clone();
    feed("evict-nodes", nodes.subscribe(), &queue, &context.shutdown, move |change| {
        let taints_changed = match change {
            Change::Updated { old, new } => no_execute(old) != no_execute(new),
            Change::Added(node) => !no_execute(node).is_empty(),
            Change::Deleted(_) => false,
        };
        let name = change.object().metadata.name.clone().filter(|_| taints_changed);
        name.map(|name| of_nodes.by_index(BY_NODE, &name))
            .unwrap_or_default()
            .iter()
            .map(|pod| ObjectKey::of(&**pod))
            .collect::<Vec<_>>()
    });
    let of_pods = nodes.clone();
    feed("evict-pods", pods.subscribe(), &queue, &context.shutdown, move |change| {
        let pod = change.object();
        let tainted = node_of(pod)
            .and_then(|name| of_pods.get(None, name))
            .is_some_and(|node| !no_execute(&node).is_empty());
        (tainted && !change.is_deleted()).then(|| ObjectKey::of(&**pod))
    });
    let context = context.clone();
    copepod_base::spawn("evict", async move {
        let shutdown = context.shutdown.clone();
        controller::run("evict", queue, 2, &shutdown, move |key: ObjectKey| {
            let (context, nodes, pods) = (context.clone(), nodes.clone(), pods.clone());
            async move { attend(&context, &nodes, &pods, &key).await }
        })
        .await;
    });
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

fn no_execute(node: &Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    taints.iter().filter(|taint| taint.effect == "NoExecute").cloned().collect()
}

async fn attend(
    context: &Context,
    nodes: &Informer<Node>,
    pods: &Informer<Pod>,
    key: &ObjectKey,
) -> Result<Action, kube::Error> {
    let Some(pod) = pods.by_key(key).filter(|pod| pods::is_active(pod)) else { return Ok(Action::Done) };
    let Some(node) = node_of(&pod).and_then(|name| nodes.get(None, name)) else { return Ok(Action::Done) };
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    match stays(&no_execute(&node), tolerations, copepod_client::time::timestamp()) {
        Stay::Forever => Ok(Action::Done),
        Stay::For(time) if !time.is_zero() => Ok(Action::RequeueAfter(time)),
        Stay::For(_) => evict(context, &pod).await,
    }
}

/// How long a pod may stay.
#[derive(Debug, PartialEq, Eq)]
enum Stay {
    Forever,
    For(Duration),
}

/// The shortest time that the tolerations of all taints allow, counted from when each taint was added.
fn stays(taints: &[Taint], tolerations: &[Toleration], now: Timestamp) -> Stay {
    let mut stay = Stay::Forever;
    for taint in taints {
        let mut tolerated = false;
        let mut seconds: Option<i64> = None;
        for toleration in tolerations.iter().filter(|toleration| tolerates(toleration, taint)) {
            tolerated = true;
            if let Some(limit) = toleration.toleration_seconds {
                seconds = Some(seconds.map_or(limit, |known: i64| known.min(limit)).max(0));
            }
        }
        let left = match (tolerated, seconds) {
            (false, _) => Duration::ZERO,
            (true, None) => continue,
            (true, Some(seconds)) => {
                let since = taint.time_added.as_ref().map_or(now, |time| time.0);
                let elapsed = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
                Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).saturating_sub(elapsed)
            }
        };
        stay = match stay {
            Stay::For(known) => Stay::For(known.min(left)),
            Stay::Forever => Stay::For(left),
        };
    }
    stay
}

async fn evict(context: &Context, pod: &Pod) -> Result<Action, kube::Error> {
    let key = ObjectKey::of(pod);
    context.recorder.normal(pod, "TaintManagerEviction", format!("Marking for deletion Pod {key}"));
    let api: Api<Pod> = Api::namespaced(context.client.clone(), key.namespace());
    let condition = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [{
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint",
        "lastTransitionTime": copepod_client::time::now(), "observedGeneration": pod.metadata.generation}]}});
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    let result =
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(condition)).await {
            Ok(_) => api.delete(&key.name, &params).await.map(|_| ()),
            Err(error) => Err(error),
        };
    match result {
        Ok(()) => Ok(Action::Done),
        Err(error) if error::is_not_found(&error) || error::is_conflict(&error) => Ok(Action::Done),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(added: &str) -> Taint {
        serde_json::from_value(json!({"key": "k", "effect": "NoExecute", "timeAdded": added})).unwrap()
    }

    fn toleration(seconds: Option<i64>) -> Toleration {
        Toleration {
            key: Some("k".into()),
            operator: Some("Exists".into()),
            toleration_seconds: seconds,
            ..Toleration::default()
        }
    }

    #[test]
    fn the_shortest_toleration_counts_from_when_the_taint_was_added() {
        let taints = [taint("2026-01-01T00:00:00Z")];
        let now = "2026-01-01T00:01:40Z".parse().unwrap();
        let both = [toleration(Some(300)), toleration(Some(200)), toleration(None)];
        assert_eq!(stays(&taints, &both, now), Stay::For(Duration::from_secs(100)));
        assert_eq!(stays(&taints, &[toleration(None)], now), Stay::Forever);
        assert_eq!(stays(&taints, &[toleration(Some(60))], now), Stay::For(Duration::ZERO));
        assert_eq!(stays(&taints, &[], now), Stay::For(Duration::ZERO));
        assert_eq!(stays(&[], &[], now), Stay::Forever);
    }
}
