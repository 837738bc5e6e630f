//! From a pod and the picture of the cluster to a decision. Pure: no clock, no I/O.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use crate::cluster::{Cluster, Demand};
use crate::filter;
use crate::score::{self, Candidate};

/// What to do with a pod.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Bind it to this node.
    Bind(String),
    /// No node can take it; the message tells how many refused for which reason.
    Unschedulable(String),
}

/// Chooses a node.
pub(crate) fn plan(pod: &Pod, demand: &Demand, cluster: &Cluster) -> Plan {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut candidates = Vec::new();
    let mut total = 0;
    for (name, node, place) in cluster.nodes() {
        total += 1;
        match filter::check(pod, demand, node, place) {
            Ok(()) => candidates.push(Candidate { name, node, place }),
            Err(refusal) => refusal.into_iter().for_each(|reason| *reasons.entry(reason).or_default() += 1),
        }
    }
    match score::best(pod, demand, &candidates) {
        Some(name) => Plan::Bind(name.to_owned()),
        None if total == 0 => Plan::Unschedulable("no nodes available to schedule pods".into()),
        None => Plan::Unschedulable(refusals(total, &reasons)),
    }
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
fn refusals(total: usize, reasons: &BTreeMap<String, usize>) -> String {
    let mut texts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    format!("0/{total} nodes are available: {}.", texts.join(", "))
}

#[cfg(test)]
mod tests;
