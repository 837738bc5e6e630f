//! Which of the nodes that can take a pod is best.
//!
//! The parts and their weights are kube-scheduler's defaults: free share of CPU and memory (1), balance between the
//! two (1), preferred node affinity (2), few `PreferNoSchedule` taints (3). Each part is 0 to 100.

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::affinity;
use crate::cluster::{Demand, Place};
use crate::filter;

const MOST: i64 = 100;

/// A node that passed the filters.
pub(crate) struct Candidate<'a> {
    pub(crate) name: &'a str,
    pub(crate) node: &'a Node,
    pub(crate) place: &'a Place,
}

/// The best candidate; equals are told apart by fewer pods, then by name, so that a run can be repeated.
pub(crate) fn best<'a>(pod: &Pod, demand: &Demand, candidates: &[Candidate<'a>]) -> Option<&'a str> {
    let affinity: Vec<i64> = candidates.iter().map(|c| affinity::preferred(pod, c.node)).collect();
    let taints: Vec<i64> = candidates.iter().map(|c| disliked_taints(pod, c.node)).collect();
    let most_affinity = affinity.iter().copied().max().unwrap_or(0);
    let most_taints = taints.iter().copied().max().unwrap_or(0);
    let share = |amount: i64, of: i64| if of == 0 { 0 } else { amount * MOST / of };
    candidates
        .iter()
        .enumerate()
        .max_by_key(|(index, candidate)| {
            let total = resources(demand, candidate.place)
                + 2 * share(affinity[*index], most_affinity)
                + 3 * (MOST - share(taints[*index], most_taints));
            (total, std::cmp::Reverse(candidate.place.pods.len()), std::cmp::Reverse(candidate.name))
        })
        .map(|(_, candidate)| candidate.name)
}

fn disliked_taints(pod: &Pod, node: &Node) -> i64 {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    filter::untolerated(node, tolerations, &["PreferNoSchedule"]).map(|_| 1).sum()
}

/// Free share after placing the pod, and how evenly CPU and memory would be used.
fn resources(demand: &Demand, place: &Place) -> i64 {
    let (cpu, memory) = demand.weight();
    let cpu = used_percent(place.weight.0.saturating_add(cpu), place.allocatable.get("cpu"));
    let memory = used_percent(place.weight.1.saturating_add(memory), place.allocatable.get("memory"));
    let free = ((MOST - cpu) + (MOST - memory)) / 2;
    let balance = MOST - (cpu - memory).abs() / 2;
    free + balance
}

fn used_percent(used: i64, of: i64) -> i64 {
    if of <= 0 {
        return MOST;
    }
    // i128: bytes of a large machine times a hundred.
    let percent = i128::from(used) * i128::from(MOST) / i128::from(of);
    i64::try_from(percent).unwrap_or(MOST).clamp(0, MOST)
}
