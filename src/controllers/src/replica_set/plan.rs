//! What to do for a ReplicaSet, from what is there. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;

use crate::pods::{self, available_in, is_active, is_ready};

/// No more pods than this are made or deleted in one reconciliation (kube-controller-manager's burst).
const BURST: usize = 500;

/// Pods to make or delete.
#[derive(Debug, PartialEq)]
pub(super) enum Scale {
    Nothing,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

/// How many pods are missing, or which ones are too many.
///
/// `owned` are the pods of the set; `siblings` counts active pods of the same owner per node, to prefer deleting
/// where there are several.
pub(super) fn scale(set: &ReplicaSet, owned: &[Arc<Pod>], siblings: &HashMap<String, usize>) -> Scale {
    if set.metadata.deletion_timestamp.is_some() {
        return Scale::Nothing;
    }
    let active: Vec<&Arc<Pod>> = owned.iter().filter(|pod| is_active(pod)).collect();
    let wanted = usize::try_from(replicas(set)).unwrap_or(0);
    if active.len() < wanted {
        return Scale::Create((wanted - active.len()).min(BURST));
    }
    let surplus = (active.len() - wanted).min(BURST);
    if surplus == 0 {
        return Scale::Nothing;
    }
    let mut ranked = active;
    ranked.sort_by_cached_key(|pod| rank(pod, siblings));
    Scale::Delete(ranked.into_iter().take(surplus).cloned().collect())
}

/// `spec.replicas`, 1 when unset.
pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Order of deletion: the smallest goes first. Unassigned before assigned, Pending before Unknown before Running, not
/// ready before ready, lower deletion cost, more siblings on the node, ready for less time, more restarts, younger.
fn rank(pod: &Pod, siblings: &HashMap<String, usize>) -> impl Ord + use<> {
    let node = pods::node_of(pod).unwrap_or_default();
    let phase = match pods::phase(pod) {
        "" | "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost: i64 = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get("controller.kubernetes.io/pod-deletion-cost"))
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    // Since when a pod is not ready does not matter: restarts and age decide between those.
    let ready_since = pods::ready_condition(pod)
        .and_then(|condition| condition.last_transition_time.as_ref().map(|time| time.0));
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (
        !node.is_empty(),
        phase,
        is_ready(pod),
        cost,
        std::cmp::Reverse(siblings.get(node).copied().unwrap_or(0)),
        std::cmp::Reverse(ready_since),
        std::cmp::Reverse(pods::most_restarts(pod)),
        std::cmp::Reverse(created),
    )
}

/// The counts of the status; conditions are the caller's. Also when a pod will become available by itself.
pub(super) fn status(
    set: &ReplicaSet,
    owned: &[Arc<Pod>],
    now: Timestamp,
) -> (ReplicaSetStatus, Option<Duration>) {
    let template_labels = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.as_ref())
        .and_then(|template| template.metadata.as_ref())
        .and_then(|metadata| metadata.labels.clone())
        .unwrap_or_default();
    let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let (mut labeled, mut ready, mut available, mut next) = (0, 0, 0, None::<Duration>);
    let mut active = 0;
    for pod in owned.iter().filter(|pod| is_active(pod)) {
        active += 1;
        let labels = pod.metadata.labels.as_ref();
        if template_labels.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
        {
            labeled += 1;
        }
        ready += i32::from(is_ready(pod));
        match available_in(pod, min_ready, now) {
            Some(Duration::ZERO) => available += 1,
            Some(wait) => next = Some(next.map_or(wait, |next| next.min(wait))),
            None => {}
        }
    }
    let terminating = owned
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_some() && !pods::is_finished(pod))
        .count();
    let status = ReplicaSetStatus {
        replicas: active,
        fully_labeled_replicas: counted(labeled),
        ready_replicas: counted(ready),
        available_replicas: counted(available),
        terminating_replicas: i32::try_from(terminating).ok(),
        observed_generation: set.metadata.generation,
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
    };
    (status, next)
}

/// A count as the API server stores it: zeros are left out, and one that is not would differ on every pass.
fn counted(count: i32) -> Option<i32> {
    Some(count).filter(|count| *count != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(replicas: i32) -> ReplicaSet {
        serde_json::from_value(json!({"metadata": {"name": "s", "generation": 3}, "spec": {
            "replicas": replicas, "minReadySeconds": 10, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}}}}))
        .unwrap()
    }

    fn pod(name: &str, phase: &str, ready_at: Option<&str>, node: &str) -> Arc<Pod> {
        let conditions = ready_at
            .map(|at| json!([{"type": "Ready", "status": "True", "lastTransitionTime": at}]))
            .unwrap_or(json!([]));
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {"a": "b"}},
                "spec": {"nodeName": node, "containers": []},
                "status": {"phase": phase, "conditions": conditions}}))
            .unwrap(),
        )
    }

    fn names(scale: Scale) -> Vec<String> {
        match scale {
            Scale::Delete(pods) => pods.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn finished_and_terminating_pods_are_replaced() {
        let mut going = (*pod("b", "Running", None, "n")).clone();
        going.metadata.deletion_timestamp = Some(copepod_client::time::now());
        let pods = [pod("a", "Failed", None, "n"), Arc::new(going), pod("c", "Running", None, "n")];
        assert_eq!(scale(&set(2), &pods, &HashMap::new()), Scale::Create(1));
    }

    #[test]
    fn the_least_useful_pods_are_deleted_first() {
        let pods = [
            pod("old", "Running", Some("2026-01-01T00:00:00Z"), "n"),
            pod("new", "Running", Some("2026-01-02T00:00:00Z"), "n"),
            pod("unready", "Running", None, "n"),
            pod("pending", "Pending", None, "n"),
            pod("unassigned", "Pending", None, ""),
        ];
        assert_eq!(
            names(scale(&set(1), &pods, &HashMap::new())),
            ["unassigned", "pending", "unready", "new"]
        );
    }

    #[test]
    fn of_pods_that_are_not_ready_the_one_that_restarts_most_goes_first() {
        let pod = |name: &str, since: &str, restarts: i32| -> Arc<Pod> {
            Arc::new(
                serde_json::from_value(json!({
                    "metadata": {"name": name}, "spec": {"nodeName": "n", "containers": []},
                    "status": {"phase": "Running",
                        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": since}],
                        "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": restarts}]}}))
                .unwrap(),
            )
        };
        let pods = [pod("calm", "2026-01-02T00:00:00Z", 0), pod("crashing", "2026-01-01T00:00:00Z", 7)];
        assert_eq!(names(scale(&set(1), &pods, &HashMap::new())), ["crashing"]);
    }

    #[test]
    fn a_crowded_node_gives_up_a_pod_first() {
        let at = Some("2026-01-01T00:00:00Z");
        let pods = [pod("alone", "Running", at, "a"), pod("crowded", "Running", at, "b")];
        let siblings = HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 3)]);
        assert_eq!(names(scale(&set(1), &pods, &siblings)), ["crowded"]);
    }

    #[test]
    fn a_pod_is_available_only_after_min_ready_seconds() {
        let pods = [
            pod("a", "Running", Some("2026-01-01T00:00:00Z"), "n"),
            pod("b", "Running", Some("2026-01-01T00:00:07Z"), "n"),
        ];
        let now = "2026-01-01T00:00:10Z".parse().unwrap();
        let (status, next) = status(&set(2), &pods, now);
        assert_eq!((status.ready_replicas, status.available_replicas), (Some(2), Some(1)));
        assert_eq!(next, Some(Duration::from_secs(7)));
        assert_eq!(status.observed_generation, Some(3));
    }
}
