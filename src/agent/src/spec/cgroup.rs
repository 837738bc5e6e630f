//! The control group of a pod: `<root>/kubepods[/burstable|/besteffort]/pod<uid>`.

use copepod_net::cgroup::{Group, Limits};
use k8s_openapi::api::core::v1::Pod;

use super::resources::{CPU_PERIOD_US, Qos, pod_limit, pod_request, qos, quota, shares};
use super::uid;

/// Name of the group of all pods.
pub const PODS: &str = "kubepods";

/// The group of a quality-of-service class.
#[must_use]
pub fn class_group(root: &Group, class: Qos) -> Group {
    let pods = root.child(PODS);
    match class {
        Qos::Guaranteed => pods,
        Qos::Burstable => pods.child("burstable"),
        Qos::BestEffort => pods.child("besteffort"),
    }
}

/// The pod's group.
#[must_use]
pub fn pod_group(root: &Group, pod: &Pod) -> Group {
    class_group(root, qos(pod)).child(&format!("pod{}", uid(pod)))
}

/// Limits of the pod's group: the sums of its containers', where every container has one.
#[must_use]
pub fn pod_limits(pod: &Pod) -> Limits {
    let cpu_request = pod_request(pod, "cpu");
    let cpu_limit = pod_limit(pod, "cpu");
    Limits {
        cpu_shares: Some(shares(cpu_request.max(if cpu_request == 0 { cpu_limit.unwrap_or(0) } else { 0 })))
            .and_then(|s| u64::try_from(s).ok()),
        cpu_quota_us: cpu_limit.map(quota),
        cpu_period_us: cpu_limit.map(|_| CPU_PERIOD_US.unsigned_abs()),
        memory_bytes: pod_limit(pod, "memory"),
        pids: None,
    }
}
