//! The scheduler's picture of the cluster: nodes, and the pods placed on them.
//!
//! A pod that was just given a node is *assumed* there until the API says so, or the binding failed: the next
//! decision must already count it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use copepod_api::resources::{Amounts, pod_requests};
use k8s_openapi::api::core::v1::{Node, Pod};

/// Requests that spreading assumes of a pod that names none (kube-scheduler's numbers): 100 m and 200 MiB.
const ASSUMED_CPU_MILLI: i64 = 100;
const ASSUMED_MEMORY_BYTES: i64 = 200 << 20;

/// A port that a pod takes on its node's own addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    pub(crate) ip: String,
    pub(crate) protocol: String,
    pub(crate) port: i32,
}

impl HostPort {
    /// Whether both cannot be had on one node; an unset address means all of them.
    fn clashes(&self, other: &HostPort) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || self.ip == "0.0.0.0" || other.ip == "0.0.0.0")
    }
}

/// What placing a pod takes from a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Demand {
    pub(crate) requests: Amounts,
    pub(crate) ports: Vec<HostPort>,
}

impl Demand {
    pub(crate) fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let ports = containers
            .flat_map(|container| container.ports.iter().flatten())
            .filter_map(|port| {
                Some(HostPort {
                    ip: port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".into()),
                    protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                    port: port.host_port.filter(|port| *port > 0)?,
                })
            })
            .collect();
        Self { requests: pod_requests(spec), ports }
    }

    /// CPU (milli) and memory (bytes) for spreading, where a pod without requests still weighs something.
    pub(crate) fn weight(&self) -> (i64, i64) {
        let or = |name, assumed| match self.requests.get(name) {
            0 => assumed,
            amount => amount,
        };
        (or("cpu", ASSUMED_CPU_MILLI), or("memory", ASSUMED_MEMORY_BYTES))
    }
}

/// A node and what is taken of it.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// `None` while only pods of it are known.
    pub(crate) node: Option<Arc<Node>>,
    pub(crate) allocatable: Amounts,
    pub(crate) taken: Amounts,
    pub(crate) weight: (i64, i64),
    pub(crate) pods: HashSet<String>,
    ports: Vec<HostPort>,
}

impl Place {
    pub(crate) fn has_free(&self, ports: &[HostPort]) -> bool {
        !ports.iter().any(|wanted| self.ports.iter().any(|taken| taken.clashes(wanted)))
    }

    fn add(&mut self, uid: &str, demand: &Demand) {
        self.pods.insert(uid.to_owned());
        self.taken.add(&demand.requests);
        self.ports.extend(demand.ports.iter().cloned());
        let (cpu, memory) = demand.weight();
        self.weight = (self.weight.0 + cpu, self.weight.1 + memory);
    }

    fn remove(&mut self, uid: &str, demand: &Demand) {
        self.pods.remove(uid);
        self.taken.subtract(&demand.requests);
        for port in &demand.ports {
            if let Some(index) = self.ports.iter().position(|taken| taken == port) {
                self.ports.swap_remove(index);
            }
        }
        let (cpu, memory) = demand.weight();
        self.weight = (self.weight.0 - cpu, self.weight.1 - memory);
    }
}

#[derive(Debug)]
struct Placed {
    node: String,
    demand: Demand,
    assumed: bool,
}

/// All nodes by name, and all placed pods.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    places: BTreeMap<String, Place>,
    pods: HashMap<String, Placed>,
}

impl Cluster {
    /// Nodes that exist, with their names, in the order of their names.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&str, &Arc<Node>, &Place)> {
        self.places.iter().filter_map(|(name, place)| Some((name.as_str(), place.node.as_ref()?, place)))
    }

    pub(crate) fn set_node(&mut self, node: &Arc<Node>) {
        let place = self.places.entry(node.metadata.name.clone().unwrap_or_default()).or_default();
        let status = node.status.as_ref();
        place.allocatable = Amounts::parse(
            status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref())),
        );
        place.node = Some(node.clone());
    }

    pub(crate) fn remove_node(&mut self, name: &str) {
        if let Some(place) = self.places.get_mut(name) {
            place.node = None;
            if place.pods.is_empty() {
                self.places.remove(name);
            }
        }
    }

    /// Records a pod that the API says is on a node; confirms an assumption, or moves it. True when the pod now takes
    /// something else than before, so that another may fit.
    pub(crate) fn set_pod(&mut self, uid: &str, node: &str, demand: Demand) -> bool {
        if let Some(known) =
            self.pods.get_mut(uid).filter(|known| known.node == node && known.demand == demand)
        {
            known.assumed = false;
            return false;
        }
        let differs = self.remove_pod(uid);
        self.place(uid, node, demand, false);
        differs
    }

    /// Counts a pod as placed before the API knows.
    pub(crate) fn assume(&mut self, uid: &str, node: &str, demand: Demand) {
        self.place(uid, node, demand, true);
    }

    /// Takes an assumption back; a pod that the API has confirmed stays. True when something was freed.
    pub(crate) fn forget(&mut self, uid: &str) -> bool {
        self.pods.get(uid).is_some_and(|placed| placed.assumed) && self.remove_pod(uid)
    }

    /// Whether the pod is on a node, or assumed to be.
    pub(crate) fn is_placed(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    /// Frees what the pod took. True when it was placed.
    pub(crate) fn remove_pod(&mut self, uid: &str) -> bool {
        let Some(placed) = self.pods.remove(uid) else { return false };
        if let Some(place) = self.places.get_mut(&placed.node) {
            place.remove(uid, &placed.demand);
            if place.pods.is_empty() && place.node.is_none() {
                self.places.remove(&placed.node);
            }
        }
        true
    }

    fn place(&mut self, uid: &str, node: &str, demand: Demand, assumed: bool) {
        self.places.entry(node.to_owned()).or_default().add(uid, &demand);
        self.pods.insert(uid.to_owned(), Placed { node: node.to_owned(), demand, assumed });
    }
}
