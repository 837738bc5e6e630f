//! From a Pod object to what the runtime is told: pure translations, one question per file.

pub mod cgroup;
pub mod container;
pub mod dns;
pub mod env;
pub mod expand;
pub mod field;
pub mod hosts;
pub mod labels;
pub mod resources;
pub mod sandbox;
pub mod security;

use std::path::PathBuf;

pub(crate) use copepod_api::resources::is_sidecar;
use copepod_net::cgroup::{Cgroups, Group};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

/// What translations know of the node. Does not change while the agent runs.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// Name of the node.
    pub name: String,
    /// What the runtime calls itself: the scheme of container ids.
    pub runtime_name: String,
    /// Addresses of the node, the primary one first.
    pub host_ips: Vec<String>,
    /// Machine resources.
    pub resources: resources::NodeResources,
    /// Name resolution.
    pub dns: dns::NodeDns,
    /// Control groups of the machine.
    pub cgroups: Cgroups,
    /// Group above all pods' groups.
    pub cgroup_root: Group,
    /// Folder of a folder per pod.
    pub pods_dir: PathBuf,
    /// Folder of container logs.
    pub logs_dir: PathBuf,
    /// Folder of seccomp profiles of type `Localhost`.
    pub seccomp_dir: PathBuf,
}

impl NodeFacts {
    /// Folder of a pod.
    #[must_use]
    pub fn pod_dir(&self, pod_uid: &str) -> PathBuf {
        self.pods_dir.join(pod_uid)
    }

    /// Folder of a pod's logs.
    #[must_use]
    pub fn pod_logs(&self, pod: &Pod) -> PathBuf {
        crate::logs::paths::pod_dir(&self.logs_dir, namespace(pod), name(pod), uid(pod))
    }
}

/// The list, empty when it is absent.
pub(crate) fn list<T>(items: &Option<Vec<T>>) -> &[T] {
    items.as_deref().unwrap_or_default()
}

/// The pod's spec. A pod without one cannot have passed validation; it has no containers then.
pub(crate) fn pod_spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::OnceLock<PodSpec> = std::sync::OnceLock::new();
    pod.spec.as_ref().unwrap_or_else(|| EMPTY.get_or_init(PodSpec::default))
}

/// Namespace of the pod.
pub(crate) fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

/// Name of the pod.
pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// UID of the pod.
pub(crate) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Whether the pod shares the node's network.
pub(crate) fn host_network(pod: &Pod) -> bool {
    pod_spec(pod).host_network.unwrap_or(false)
}

/// Init containers and containers, with whether each is an init container.
pub(crate) fn all_containers(spec: &PodSpec) -> impl Iterator<Item = (&Container, bool)> {
    list(&spec.init_containers).iter().map(|c| (c, true)).chain(spec.containers.iter().map(|c| (c, false)))
}
