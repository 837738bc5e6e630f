//! The pod's status as Kubernetes reports it: a pure function of spec, runtime state and probe results.

mod conditions;
mod containers;
mod phase;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{HostIP, Pod, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::state::PodState;
use crate::spec::resources::qos;
use crate::spec::{NodeFacts, host_network, list};

/// Why a container waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// One word, such as `ImagePullBackOff`.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// The pod as a whole has failed, whatever its containers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One word, such as `DeadlineExceeded`.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// What probes say of a running container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// It has passed its startup probe, or has none.
    pub started: bool,
    /// It passes its readiness probe, or has none.
    pub ready: bool,
}

/// What the status depends on.
pub struct Inputs<'a> {
    /// The pod with its last known status.
    pub pod: &'a Pod,
    /// The status computed before, which is newer than the one in `pod`.
    pub last: Option<&'a PodStatus>,
    /// What the runtime has.
    pub state: &'a PodState,
    /// The node.
    pub node: &'a NodeFacts,
    /// Health of running containers, by id.
    pub health: &'a dyn Fn(&str) -> Health,
    /// Why containers wait, by name.
    pub waiting: &'a BTreeMap<String, Reason>,
    /// Set once the pod has failed as a whole.
    pub failure: Option<&'a Failure>,
    /// No container will run again.
    pub terminal: bool,
    /// Now.
    pub now: Timestamp,
}

/// Computes the status.
#[must_use]
pub fn compute(inputs: &Inputs<'_>) -> PodStatus {
    let old = inputs.last.or(inputs.pod.status.as_ref());
    let empty = PodStatus::default();
    let old = old.unwrap_or(&empty);
    let (init_statuses, statuses) = containers::statuses(inputs, old);
    let phase = phase::phase(inputs, old, &init_statuses, &statuses);
    let pod_ips = pod_ips(inputs, old);
    let host_ips = &inputs.node.host_ips;
    let mut status = PodStatus {
        observed_generation: inputs.pod.metadata.generation,
        phase: Some(phase.to_owned()),
        start_time: old.start_time.clone().or(Some(Time(whole_seconds(inputs.now)))),
        qos_class: Some(qos(inputs.pod).as_str().to_owned()),
        host_ip: host_ips.first().cloned(),
        host_ips: Some(host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect())
            .filter(|v: &Vec<_>| !v.is_empty()),
        pod_ip: pod_ips.first().cloned(),
        pod_ips: Some(pod_ips.into_iter().map(|ip| PodIP { ip }).collect())
            .filter(|v: &Vec<_>| !v.is_empty()),
        init_container_statuses: Some(init_statuses).filter(|s| !s.is_empty()),
        container_statuses: Some(statuses).filter(|s| !s.is_empty()),
        reason: old.reason.clone().filter(|_| phase == "Failed"),
        message: old.message.clone().filter(|_| phase == "Failed"),
        nominated_node_name: old.nominated_node_name.clone(),
        resource_claim_statuses: old.resource_claim_statuses.clone(),
        ephemeral_container_statuses: old.ephemeral_container_statuses.clone(),
        ..PodStatus::default()
    };
    if let Some(failure) = inputs.failure {
        status.reason = Some(failure.reason.clone());
        status.message = Some(failure.message.clone());
    }
    status.conditions = Some(conditions::conditions(inputs, old, &status));
    status
}

fn pod_ips(inputs: &Inputs<'_>, old: &PodStatus) -> Vec<String> {
    let now = inputs.state.ips();
    if !now.is_empty() {
        return now.to_vec();
    }
    if host_network(inputs.pod) {
        return if inputs.state.sandbox().is_some() { inputs.node.host_ips.clone() } else { Vec::new() };
    }
    // An ended pod keeps showing the addresses it had.
    if inputs.terminal || inputs.pod.metadata.deletion_timestamp.is_some() {
        return list(&old.pod_ips).iter().map(|ip| ip.ip.clone()).collect();
    }
    Vec::new()
}

/// API times have whole seconds.
pub(crate) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests;
