//! The rules that a node must pass to take a pod. Each gives kube-scheduler's words when it refuses.

use copepod_api::taints::tolerates;
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};

use crate::affinity;
use crate::cluster::{Demand, Place};

const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// Why a node cannot take the pod: one reason, or several when resources are short.
pub(crate) type Refusal = Vec<String>;

/// Checks all rules, cheapest first; the first one that refuses decides.
pub(crate) fn check(pod: &Pod, demand: &Demand, node: &Node, place: &Place) -> Result<(), Refusal> {
    let refuse = |reason: &str| Err(vec![reason.to_owned()]);
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) && !tolerates_cordon(tolerations)
    {
        return refuse("node(s) were unschedulable");
    }
    if untolerated(node, tolerations, &["NoSchedule", "NoExecute"]).next().is_some() {
        return refuse("node(s) had untolerated taint(s)");
    }
    if !affinity::required(pod, node) {
        return refuse("node(s) didn't match Pod's node affinity/selector");
    }
    if !place.has_free(&demand.ports) {
        return refuse("node(s) didn't have free ports for the requested pod ports");
    }
    let short = shortages(demand, place);
    if short.is_empty() { Ok(()) } else { Err(short) }
}

/// The node's taints with one of the effects that the pod does not tolerate.
pub(crate) fn untolerated<'a>(
    node: &'a Node,
    tolerations: &'a [Toleration],
    effects: &'a [&str],
) -> impl Iterator<Item = &'a Taint> {
    node.spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten())
        .filter(|taint| effects.contains(&taint.effect.as_str()))
        .filter(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

fn tolerates_cordon(tolerations: &[Toleration]) -> bool {
    let taint = Taint { key: UNSCHEDULABLE_TAINT.into(), effect: "NoSchedule".into(), ..Taint::default() };
    tolerations.iter().any(|toleration| tolerates(toleration, &taint))
}

fn shortages(demand: &Demand, place: &Place) -> Refusal {
    let mut short = Vec::new();
    let most = place.allocatable.get("pods");
    if i64::try_from(place.pods.len()).unwrap_or(i64::MAX) >= most {
        short.push("Too many pods".to_owned());
    }
    for (name, amount) in &demand.requests.0 {
        let free = place.allocatable.get(name).saturating_sub(place.taken.get(name));
        if *amount > 0 && *amount > free {
            short.push(format!("Insufficient {name}"));
        }
    }
    short
}
