//! Pods leave a node with a `NoExecute` taint that they do not tolerate, or tolerate only for a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use copepod_api::taints::tolerates;
use copepod_client::controller::{Action, feed};
use copepod_client::{Change, Informer, ObjectKey, Queue, controller};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::json;

use crate::{Context, pods, still_there};

/// A taint without `timeAdded`, as people add them, and the node that has it.
type Untimed = (String, String, Option<String>);

/// When taints without a time of their own were seen first.
type Seen = Arc<Mutex<HashMap<Untimed, Timestamp>>>;

pub(super) fn start(context: &Context) {
    let queue: Queue<ObjectKey> = Queue::new();
    let nodes = context.informers.get::<Node>();
    let pods = context.informers.get::<Pod>();
    pods.index(pods::BY_NODE, pods::node_key);
    let seen = Seen::default();
    let of_nodes = pods.clone();
    let times = seen.clone();
    feed("evict-nodes", nodes.subscribe(), &queue, &context.shutdown, move |change| {
        let taints_changed = match change {
            Change::Updated { old, new } => no_execute(old) != no_execute(new),
            Change::Added(_) | Change::Deleted(_) => true,
        };
        let node = change.object();
        let name = node.metadata.name.as_deref().unwrap_or_default();
        if !taints_changed {
            return Vec::new();
        }
        let taints = if change.is_deleted() { Vec::new() } else { no_execute(node) };
        note_times(&times, name, &taints, copepod_client::time::timestamp());
        if taints.is_empty() {
            return Vec::new();
        }
        of_nodes.by_index(pods::BY_NODE, name).iter().map(|pod| ObjectKey::of(&**pod)).collect()
    });
    let of_pods = nodes.clone();
    feed("evict-pods", pods.subscribe(), &queue, &context.shutdown, move |change| {
        let pod = change.object();
        let tainted = pods::node_of(pod)
            .and_then(|name| of_pods.get(None, name))
            .is_some_and(|node| !no_execute(&node).is_empty());
        (tainted && !change.is_deleted()).then(|| ObjectKey::of(&**pod))
    });
    let context = context.clone();
    copepod_base::spawn("evict", async move {
        let shutdown = context.shutdown.clone();
        controller::run("evict", queue, 2, &shutdown, move |key: ObjectKey| {
            let (context, nodes, pods, seen) = (context.clone(), nodes.clone(), pods.clone(), seen.clone());
            async move {
                match due(&nodes, &pods, &seen, &key) {
                    None => Ok(Action::Done),
                    Some((_, wait)) if !wait.is_zero() => Ok(Action::RequeueAfter(wait)),
                    Some((pod, _)) => evict(&context, &pod).await,
                }
            }
        })
        .await;
    });
}

fn no_execute(node: &Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    taints.iter().filter(|taint| taint.effect == "NoExecute").cloned().collect()
}

fn untimed(node: &str, taint: &Taint) -> Untimed {
    (node.to_owned(), taint.key.clone(), taint.value.clone())
}

/// Remembers when the taints of a node were seen first, and forgets those that it no longer has.
fn note_times(seen: &Seen, node: &str, taints: &[Taint], now: Timestamp) {
    let mut seen = seen.lock();
    seen.retain(|key, _| key.0 != node || taints.iter().any(|taint| untimed(node, taint) == *key));
    for taint in taints.iter().filter(|taint| taint.time_added.is_none()) {
        seen.entry(untimed(node, taint)).or_insert(now);
    }
}

/// The pod and how long it may stay; `None` when that is for ever, or when there is nothing to decide.
fn due(
    nodes: &Informer<Node>,
    pods: &Informer<Pod>,
    seen: &Seen,
    key: &ObjectKey,
) -> Option<(Arc<Pod>, Duration)> {
    let pod = pods.by_key(key).filter(|pod| pod.metadata.deletion_timestamp.is_none())?;
    let name = pods::node_of(&pod)?;
    let now = copepod_client::time::timestamp();
    // A pod that came later than the taint has its time too.
    let created = pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
    let taints: Vec<(Taint, Timestamp)> = no_execute(&*nodes.get(None, name)?)
        .into_iter()
        .map(|taint| {
            let known = taint.time_added.as_ref().map(|time| time.0);
            let since = known.or_else(|| seen.lock().get(&untimed(name, &taint)).copied()).unwrap_or(now);
            (taint, since.max(created))
        })
        .collect();
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    match stays(&taints, tolerations, now) {
        Stay::Forever => None,
        Stay::For(time) => Some((pod, time)),
    }
}

/// How long a pod may stay.
#[derive(Debug, PartialEq, Eq)]
enum Stay {
    Forever,
    For(Duration),
}

/// The shortest time that the tolerations of all taints allow, counted from when each taint began to matter.
fn stays(taints: &[(Taint, Timestamp)], tolerations: &[Toleration], now: Timestamp) -> Stay {
    let mut stay = Stay::Forever;
    for (taint, since) in taints {
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
                let elapsed = Duration::try_from(now.duration_since(*since)).unwrap_or(Duration::ZERO);
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
    let marked = api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(condition)).await;
    if still_there(marked)?.is_some() {
        still_there(api.delete(&key.name, &params).await)?;
    }
    Ok(Action::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint() -> Taint {
        serde_json::from_value(json!({"key": "k", "effect": "NoExecute"})).unwrap()
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
        let taints = [(taint(), "2026-01-01T00:00:00Z".parse().unwrap())];
        let now = "2026-01-01T00:01:40Z".parse().unwrap();
        let both = [toleration(Some(300)), toleration(Some(200)), toleration(None)];
        assert_eq!(stays(&taints, &both, now), Stay::For(Duration::from_secs(100)));
        assert_eq!(stays(&taints, &[toleration(None)], now), Stay::Forever);
        assert_eq!(stays(&taints, &[toleration(Some(60))], now), Stay::For(Duration::ZERO));
        assert_eq!(stays(&taints, &[], now), Stay::For(Duration::ZERO));
        assert_eq!(stays(&[], &[], now), Stay::Forever);
    }

    #[test]
    fn a_taint_without_a_time_counts_from_when_it_was_first_seen() {
        let (seen, first) = (Seen::default(), "2026-01-01T00:00:00Z".parse().unwrap());
        note_times(&seen, "n", &[taint()], first);
        note_times(&seen, "n", &[taint()], "2026-01-01T00:05:00Z".parse().unwrap());
        assert_eq!(seen.lock().get(&untimed("n", &taint())), Some(&first));
        note_times(&seen, "other", &[], first);
        assert_eq!(seen.lock().len(), 1);
        note_times(&seen, "n", &[], first);
        assert!(seen.lock().is_empty());
    }
}
