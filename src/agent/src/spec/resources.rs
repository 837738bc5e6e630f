//! CPU, memory and huge pages of containers and pods as numbers and as cgroup settings.

use std::collections::BTreeMap;

use copepod_api::quantity::Quantity as Parsed;
use copepod_cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{all_containers, is_sidecar, list, pod_spec};

/// A resource list as objects carry it.
pub type ResourceList = BTreeMap<String, Quantity>;

/// Smallest value of `cpu.shares`.
const MIN_SHARES: i64 = 2;
/// Largest value of `cpu.shares`.
const MAX_SHARES: i64 = 262_144;
/// Length of a CPU quota period in microseconds.
pub const CPU_PERIOD_US: i64 = 100_000;
/// Smallest CPU quota the kernel takes, in microseconds.
const MIN_QUOTA_US: i64 = 1_000;

/// What the node has, as far as a container's settings depend on it.
#[derive(Debug, Clone, Default)]
pub struct NodeResources {
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Allocatable resources: limits a container without limits sees through `resourceFieldRef`.
    pub allocatable: ResourceList,
    /// Huge page sizes in bytes.
    pub hugepage_sizes: Vec<u64>,
    /// Whether the machine runs cgroup v2 only.
    pub cgroup_v2: bool,
}

/// Quality of service of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Every container has limits equal to its requests.
    Guaranteed,
    /// Some container has a request or a limit.
    Burstable,
    /// Nothing is requested.
    BestEffort,
}

impl Qos {
    /// As written in `status.qosClass`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Qos::Guaranteed => "Guaranteed",
            Qos::Burstable => "Burstable",
            Qos::BestEffort => "BestEffort",
        }
    }
}

/// Thousandths of a quantity, rounded up; 0 for what cannot be parsed.
#[must_use]
pub fn milli(quantity: &Quantity) -> i64 {
    Parsed::parse(&quantity.0).map_or(0, |q| q.milli_value())
}

/// Whole units of a quantity, rounded up; 0 for what cannot be parsed.
#[must_use]
pub fn value(quantity: &Quantity) -> i64 {
    Parsed::parse(&quantity.0).map_or(0, |q| q.value())
}

fn get<'a>(map: &'a Option<ResourceList>, key: &str) -> Option<&'a Quantity> {
    map.as_ref().and_then(|m| m.get(key))
}

/// The pod's QoS class. Objects carry it in their status; the rule is applied again for those that do not.
#[must_use]
pub fn qos(pod: &Pod) -> Qos {
    if let Some(class) = pod.status.as_ref().and_then(|s| s.qos_class.as_deref()) {
        match class {
            "Guaranteed" => return Qos::Guaranteed,
            "Burstable" => return Qos::Burstable,
            "BestEffort" => return Qos::BestEffort,
            _ => {}
        }
    }
    let mut any = false;
    let mut guaranteed = true;
    for (container, _) in all_containers(pod_spec(pod)) {
        let resources = container.resources.as_ref();
        for key in ["cpu", "memory"] {
            let request = resources.and_then(|r| get(&r.requests, key)).map_or(0, milli);
            let limit = resources.and_then(|r| get(&r.limits, key)).map_or(0, milli);
            any |= request > 0 || limit > 0;
            guaranteed &= limit > 0 && (request == limit || request == 0);
        }
    }
    match (any, guaranteed) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

/// `cpu.shares` for a request in thousandths of a core.
#[must_use]
pub fn shares(milli_cpu: i64) -> i64 {
    if milli_cpu == 0 { MIN_SHARES } else { (milli_cpu * 1024 / 1000).clamp(MIN_SHARES, MAX_SHARES) }
}

/// CPU quota in microseconds per period; 0 is no limit.
#[must_use]
pub fn quota(milli_cpu: i64) -> i64 {
    if milli_cpu == 0 { 0 } else { (milli_cpu * CPU_PERIOD_US / 1000).max(MIN_QUOTA_US) }
}

/// How readily the kernel kills the container when memory runs out (-1000 to 1000).
#[must_use]
pub fn oom_score_adj(pod: &Pod, container: &Container, node: &NodeResources) -> i64 {
    const GUARANTEED: i64 = -997;
    const BEST_EFFORT: i64 = 1000;
    // Priority of system-node-critical and above (2,000,001,000 in upstream's priority classes).
    if pod_spec(pod).priority.unwrap_or(0) >= 2_000_000_000 {
        return GUARANTEED;
    }
    match qos(pod) {
        Qos::Guaranteed => GUARANTEED,
        Qos::BestEffort => BEST_EFFORT,
        Qos::Burstable => {
            let request =
                container.resources.as_ref().and_then(|r| get(&r.requests, "memory")).map_or(0, value);
            let share = if node.memory_bytes > 0 { 1000 * request / node.memory_bytes } else { 0 };
            (1000 - share).clamp(1000 + GUARANTEED, BEST_EFFORT - 1)
        }
    }
}

/// Settings of the container's cgroup.
#[must_use]
pub fn container_resources(
    pod: &Pod,
    container: &Container,
    node: &NodeResources,
) -> v1::LinuxContainerResources {
    let empty = ResourceRequirements::default();
    let resources = container.resources.as_ref().unwrap_or(&empty);
    let cpu_limit = get(&resources.limits, "cpu").map_or(0, milli);
    let cpu_request = get(&resources.requests, "cpu").map(milli);
    let memory = get(&resources.limits, "memory").map_or(0, value);
    v1::LinuxContainerResources {
        cpu_period: CPU_PERIOD_US,
        cpu_quota: quota(cpu_limit),
        cpu_shares: shares(cpu_request.unwrap_or(cpu_limit)),
        memory_limit_in_bytes: memory,
        oom_score_adj: oom_score_adj(pod, container, node),
        // Equal limits for memory and memory with swap: no swap. Version 1 kernels may lack swap accounting.
        memory_swap_limit_in_bytes: if node.cgroup_v2 { memory } else { 0 },
        hugepage_limits: hugepages(resources, node),
        ..Default::default()
    }
}

fn hugepages(resources: &ResourceRequirements, node: &NodeResources) -> Vec<v1::HugepageLimit> {
    let limit_of = |size: u64| {
        resources
            .limits
            .iter()
            .flatten()
            .filter_map(|(key, limit)| Some((key.strip_prefix("hugepages-")?, limit)))
            .find(|(text, _)| value(&Quantity((*text).to_owned())).cast_unsigned() == size)
            .map_or(0, |(_, limit)| value(limit).cast_unsigned())
    };
    node.hugepage_sizes
        .iter()
        .map(|size| v1::HugepageLimit { page_size: page_size_name(*size), limit: limit_of(*size) })
        .collect()
}

/// As the kernel names it in cgroup files: `2MB`, `1GB`.
fn page_size_name(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 30 => format!("{}GB", b >> 30),
        b if b >= 1 << 20 => format!("{}MB", b >> 20),
        b => format!("{}KB", b >> 10),
    }
}

/// What the pod as a whole asks of one resource (thousandths for `cpu`): the containers and sidecars together,
/// or an init container with the sidecars before it if that is more; plus overhead.
#[must_use]
pub fn pod_request(pod: &Pod, key: &str) -> i64 {
    pod_total(pod, key, |r| &r.requests).0
}

/// The pod's limit of one resource, `None` when some container has none.
#[must_use]
pub fn pod_limit(pod: &Pod, key: &str) -> Option<i64> {
    let (total, all) = pod_total(pod, key, |r| &r.limits);
    all.then_some(total)
}

fn pod_total(
    pod: &Pod,
    key: &str,
    pick: impl Fn(&ResourceRequirements) -> &Option<ResourceList>,
) -> (i64, bool) {
    let spec = pod_spec(pod);
    let number = |quantity: &Quantity| if key == "cpu" { milli(quantity) } else { value(quantity) };
    let of =
        |container: &Container| container.resources.as_ref().and_then(|r| get(pick(r), key)).map(&number);
    let mut all = true;
    let mut sum = 0;
    for container in &spec.containers {
        let amount = of(container);
        all &= amount.is_some_and(|a| a > 0);
        sum += amount.unwrap_or(0);
    }
    let mut sidecars = 0;
    let mut peak = 0;
    for container in list(&spec.init_containers) {
        let amount = of(container);
        all &= amount.is_some_and(|a| a > 0);
        if is_sidecar(container) {
            sidecars += amount.unwrap_or(0);
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars + amount.unwrap_or(0));
        }
    }
    sum = (sum + sidecars).max(peak);
    if let Some(pod_level) = spec.resources.as_ref().and_then(|r| get(pick(r), key)) {
        sum = number(pod_level);
        all = true;
    }
    let overhead = get(&spec.overhead, key).map_or(0, number);
    (sum + overhead, all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(containers: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": containers})).unwrap()
    }

    fn node() -> NodeResources {
        NodeResources { memory_bytes: 4 << 30, ..NodeResources::default() }
    }

    #[test]
    fn classes_follow_requests_and_limits() {
        let with = |r: serde_json::Value| pod(json!({"containers": [{"name": "a", "resources": r}]}));
        assert_eq!(qos(&with(json!({}))), Qos::BestEffort);
        assert_eq!(qos(&with(json!({"requests": {"cpu": "0"}}))), Qos::BestEffort);
        assert_eq!(qos(&with(json!({"limits": {"cpu": "1"}}))), Qos::Burstable);
        assert_eq!(qos(&with(json!({"limits": {"cpu": "1", "memory": "1Gi"}}))), Qos::Guaranteed);
        assert_eq!(
            qos(&with(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}))),
            Qos::Burstable
        );
    }

    #[test]
    fn cpu_becomes_shares_and_quota() {
        assert_eq!((shares(0), shares(1), shares(100), shares(2000)), (2, 2, 102, 2048));
        assert_eq!((quota(0), quota(1), quota(500), quota(2000)), (0, 1000, 50_000, 200_000));
    }

    #[test]
    fn a_limit_alone_also_sets_the_shares() {
        let pod = pod(json!({"containers": [
            {"name": "a", "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}}}]}));
        let got = container_resources(&pod, &pod_spec(&pod).containers[0], &node());
        assert_eq!((got.cpu_shares, got.cpu_quota, got.memory_limit_in_bytes), (512, 50_000, 64 << 20));
        assert_eq!(got.oom_score_adj, -997);
    }

    #[test]
    fn burstable_containers_are_killed_by_how_little_they_asked_for() {
        let pod = pod(json!({"containers": [
            {"name": "a", "resources": {"requests": {"memory": "1Gi"}}},
            {"name": "b"},
            {"name": "c", "resources": {"requests": {"memory": "8Gi"}}}]}));
        let scores: Vec<i64> =
            pod_spec(&pod).containers.iter().map(|c| oom_score_adj(&pod, c, &node())).collect();
        assert_eq!(scores, [750, 999, 3]);
    }

    #[test]
    fn a_pod_asks_for_the_larger_of_its_init_and_main_phases() {
        let pod = pod(json!({
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "i", "resources": {"requests": {"cpu": "900m"}}}],
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "200m"}}}],
            "overhead": {"cpu": "10m"}}));
        assert_eq!(pod_request(&pod, "cpu"), 1010);
        assert_eq!(pod_limit(&pod, "cpu"), None);
    }
}
