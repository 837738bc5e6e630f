//! A node that no longer renews its Lease is not Ready any more; taints tell the scheduler and the eviction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use copepod_client::controller::{Action, feed};
use copepod_client::{Informer, ObjectKey, Queue, controller, error};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::{Context, pods, still_there};

/// A node is Unknown when nothing was heard of it for this time (`--node-monitor-grace-period`).
const GRACE: Duration = Duration::from_secs(50);

/// Conditions that this controller answers for when the agent is silent.
const CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// When a node was last heard of, by this process's monotonic clock: clocks of nodes need not agree.
#[derive(Debug, Clone)]
struct Heard {
    /// What was seen: the Lease's renewal time and the node's status version. Any change is a sign of life.
    sign: (Option<String>, Option<String>),
    at: Instant,
}

struct Health {
    context: Context,
    nodes: Informer<Node>,
    leases: Informer<Lease>,
    pods: Informer<Pod>,
    heard: Mutex<HashMap<String, Heard>>,
}

pub(super) fn start(context: &Context) {
    let queue: Queue<String> = Queue::new();
    let nodes = context.informers.get::<Node>();
    let leases = context.informers.get::<Lease>();
    let pods = context.informers.get::<Pod>();
    pods.index(pods::BY_NODE, pods::node_key);
    feed("node-health-nodes", nodes.subscribe(), &queue, &context.shutdown, |change| {
        change.object().metadata.name.clone()
    });
    feed("node-health-leases", leases.subscribe(), &queue, &context.shutdown, |change| {
        let metadata = &change.object().metadata;
        metadata.name.clone().filter(|_| metadata.namespace.as_deref() == Some("kube-node-lease"))
    });
    let health = Arc::new(Health { context: context.clone(), nodes, leases, pods, heard: Mutex::default() });
    let shutdown = context.shutdown.clone();
    copepod_base::spawn("node-health", async move {
        controller::run("node-health", queue, 2, &shutdown, move |name: String| {
            let health = health.clone();
            async move { health.check(&name).await }
        })
        .await;
    });
}

impl Health {
    async fn check(&self, name: &str) -> Result<Action, kube::Error> {
        self.leases.synced().await;
        let Some(node) = self.nodes.get(None, name) else {
            self.heard.lock().remove(name);
            return Ok(Action::Done);
        };
        let silent = self.silent_for(name, &node);
        let mut node = node;
        if silent >= GRACE {
            if let Some(marked) = self.mark_unknown(&node).await? {
                node = marked;
            }
            // Each time: some may not have been marked before, and those that are cost nothing.
            self.mark_pods(name).await?;
        }
        self.taint(&node).await?;
        // A new sign of life wakes the check earlier and moves the time.
        Ok(if silent >= GRACE { Action::Done } else { Action::RequeueAfter(GRACE.saturating_sub(silent)) })
    }

    /// Time since the last sign of life.
    fn silent_for(&self, name: &str, node: &Node) -> Duration {
        let renewed = self
            .leases
            .get(Some("kube-node-lease"), name)
            .and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0.to_string()));
        let beat = node
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .find(|condition| condition.type_ == "Ready" && condition.status != "Unknown")
            .and_then(|condition| condition.last_heartbeat_time.as_ref().map(|time| time.0.to_string()));
        let sign = (renewed, beat);
        let now = copepod_base::clock::instant();
        let mut heard = self.heard.lock();
        let entry = heard.entry(name.to_owned()).or_insert_with(|| {
            let message = format!("Node {name} event: Registered Node {name} in Controller");
            self.context.recorder.normal(node, "RegisteredNode", message);
            Heard { sign: sign.clone(), at: now }
        });
        let is_alive = entry.sign.0 != sign.0 || (sign.1.is_some() && entry.sign.1 != sign.1);
        if is_alive {
            *entry = Heard { sign, at: now };
        }
        now.duration_since(entry.at)
    }

    /// Sets the conditions of a silent node to Unknown; `None` when they are already.
    async fn mark_unknown(&self, node: &Node) -> Result<Option<Arc<Node>>, kube::Error> {
        let now = copepod_client::time::now();
        let known = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let changes: Vec<NodeCondition> = CONDITIONS
            .iter()
            .filter_map(|kind| {
                let old = known.iter().find(|condition| condition.type_ == *kind);
                if old.is_some_and(|old| old.status == "Unknown") {
                    return None;
                }
                let (reason, message) = match old {
                    Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
                    None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
                };
                Some(NodeCondition {
                    type_: (*kind).to_owned(),
                    status: "Unknown".into(),
                    reason: Some(reason.into()),
                    message: Some(message.into()),
                    last_heartbeat_time: old.and_then(|old| old.last_heartbeat_time.clone()),
                    last_transition_time: Some(now.clone()),
                })
            })
            .collect();
        if changes.is_empty() {
            return Ok(None);
        }
        let name = node.metadata.name.as_deref().unwrap_or_default();
        tracing::warn!(node = name, "node stopped renewing its lease, marked as not ready");
        self.context.recorder.normal(
            node,
            "NodeNotReady",
            format!("Node {name} status is now: NodeNotReady"),
        );
        let api: Api<Node> = Api::all(self.context.client.clone());
        let patch = json!({"metadata": {"uid": node.metadata.uid}, "status": {"conditions": changes}});
        let marked = api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        Ok(still_there(marked)?.map(Arc::new))
    }

    /// Pods of a silent node must not get traffic.
    async fn mark_pods(&self, node: &str) -> Result<(), kube::Error> {
        self.pods.synced().await;
        for pod in self.pods.by_index(pods::BY_NODE, node).iter().filter(|pod| pods::is_ready(pod)) {
            let key = ObjectKey::of(&**pod);
            let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [{
                "type": "Ready", "status": "False", "lastTransitionTime": copepod_client::time::now(),
                "observedGeneration": pod.metadata.generation}]}});
            let api: Api<Pod> = Api::namespaced(self.context.client.clone(), key.namespace());
            let marked = api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await;
            if still_there(marked)?.is_some() {
                self.context.recorder.warning(&**pod, "NodeNotReady", "Node is not ready");
            }
        }
        Ok(())
    }

    /// Brings the taints that this controller owns in line with conditions and `spec.unschedulable`.
    async fn taint(&self, node: &Node) -> Result<(), kube::Error> {
        let old = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        let wanted = wanted_taints(node);
        let mut new: Vec<Taint> = old
            .iter()
            .filter(|taint| !is_ours(taint) || wanted.iter().any(|wanted| is_same(wanted, taint)))
            .cloned()
            .collect();
        for (key, effect) in &wanted {
            if !new.iter().any(|taint| is_same(&(key, effect), taint)) {
                let time_added = Some(copepod_client::time::now());
                new.push(Taint { key: (*key).into(), effect: (*effect).into(), value: None, time_added });
            }
        }
        if new == old {
            return Ok(());
        }
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let patch = json!({
            "metadata": {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version},
            "spec": {"taints": new}});
        let api: Api<Node> = Api::all(self.context.client.clone());
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => Ok(()),
            Err(error) if error::is_not_found(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Keys of the taints that follow conditions (`core/v1`, well-known taints).
const OURS: [&str; 7] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/network-unavailable",
    "node.kubernetes.io/unschedulable",
];

/// Only the first two evict.
fn is_ours(taint: &Taint) -> bool {
    let ours = match taint.effect.as_str() {
        "NoSchedule" => &OURS[..],
        "NoExecute" => &OURS[..2],
        _ => &[],
    };
    ours.contains(&taint.key.as_str())
}

fn is_same(wanted: &(&str, &str), taint: &Taint) -> bool {
    wanted.0 == taint.key && wanted.1 == taint.effect
}

fn wanted_taints(node: &Node) -> Vec<(&'static str, &'static str)> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let status = |kind: &str| {
        conditions.iter().find(|condition| condition.type_ == kind).map(|condition| condition.status.as_str())
    };
    let mut taints = Vec::new();
    match status("Ready") {
        Some("False") => taints.extend([(OURS[0], "NoSchedule"), (OURS[0], "NoExecute")]),
        Some("Unknown") => taints.extend([(OURS[1], "NoSchedule"), (OURS[1], "NoExecute")]),
        _ => {}
    }
    for (kind, key) in [
        ("MemoryPressure", OURS[2]),
        ("DiskPressure", OURS[3]),
        ("PIDPressure", OURS[4]),
        ("NetworkUnavailable", OURS[5]),
    ] {
        if status(kind) == Some("True") {
            taints.push((key, "NoSchedule"));
        }
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        taints.push((OURS[6], "NoSchedule"));
    }
    taints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ready: &str, unschedulable: bool) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n"}, "spec": {"unschedulable": unschedulable},
            "status": {"conditions": [{"type": "Ready", "status": ready}, {"type": "DiskPressure", "status": "True"}]}}))
        .unwrap()
    }

    #[test]
    fn taints_follow_conditions_and_cordoning() {
        assert_eq!(wanted_taints(&node("True", false)), [("node.kubernetes.io/disk-pressure", "NoSchedule")]);
        assert_eq!(
            wanted_taints(&node("Unknown", true)),
            [
                ("node.kubernetes.io/unreachable", "NoSchedule"),
                ("node.kubernetes.io/unreachable", "NoExecute"),
                ("node.kubernetes.io/disk-pressure", "NoSchedule"),
                ("node.kubernetes.io/unschedulable", "NoSchedule"),
            ]
        );
    }

    #[test]
    fn taints_of_others_are_not_ours() {
        let taint =
            |key: &str, effect: &str| Taint { key: key.into(), effect: effect.into(), ..Taint::default() };
        assert!(!is_ours(&taint("example.com/mine", "NoExecute")));
        assert!(!is_ours(&taint("node.kubernetes.io/unschedulable", "NoExecute")));
        assert!(is_ours(&taint("node.kubernetes.io/not-ready", "NoExecute")));
    }
}
