//! The Node's status: written when it changes, and every five minutes so that old readers see a heartbeat.

use std::collections::BTreeMap;
use std::time::Duration;

use copepod_base::backoff::{Backoff, Policy};
use copepod_base::{Chain, clock};
use copepod_client::{Client, Informer, time};
use copepod_cri::{Images, Runtime};
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

use super::machine::Machine;
use super::{NodeConfig, register};
use copepod_net::disk;

/// Without a change the status is written this often (`nodeStatusReportFrequency`).
const REPORT_EVERY: Duration = Duration::from_secs(300);
/// How often runtime, memory and disk are looked at when nothing calls for it.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How soon to look again while the node is not ready.
const LOOK_SOON: Duration = Duration::from_secs(2);
/// Images that the status names at most, largest first (`nodeStatusMaxImages`).
const IMAGES_AT_MOST: usize = 50;
/// Free share below which the disk counts as short, in percent: space and inodes (kubelet's defaults).
const DISK_PERCENT: u64 = 10;
const INODES_PERCENT: u64 = 5;

/// The task that owns the Node's status.
pub(super) struct Writer {
    pub(super) config: NodeConfig,
    pub(super) machine: Machine,
    pub(super) client: Client,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) images: Arc<dyn Images>,
    pub(super) node: Informer<Node>,
}

impl Writer {
    /// Registers the node, then keeps its status true until the task is dropped.
    pub(super) async fn run(self, mut looks: watch::Receiver<()>, ready: watch::Sender<bool>) {
        let api: Api<Node> = Api::all(self.client.clone());
        let mut retry = Backoff::new(Policy::REQUEST);
        let mut node = loop {
            match register::register(&api, &self.config, &self.machine).await {
                Ok(node) => break node,
                Err(error) => {
                    tracing::warn!(node = self.config.name, error = %Chain(&error), "cannot register the node, will try again");
                    tokio::time::sleep(retry.next_delay()).await;
                }
            }
        };
        let mut reported: Option<Instant> = None;
        loop {
            // A change that comes during the look is seen by the next one.
            looks.mark_unchanged();
            let status = self.look(&node).await;
            let is_ready = is_ready(&status);
            let due = reported.is_none_or(|at| clock::instant().duration_since(at) >= REPORT_EVERY);
            if due || differs(node.status.as_ref(), &status) {
                match self.write(&api, &node, &status).await {
                    Ok(written) => {
                        node = written;
                        reported = Some(clock::instant());
                        retry.reset();
                    }
                    Err(error) => {
                        tracing::warn!(node = self.config.name, error = %Chain(&error), "cannot write the node's status, will try again");
                        tokio::time::sleep(retry.next_delay()).await;
                        if let Some(fresh) = self.node.get(None, &self.config.name) {
                            node = (*fresh).clone();
                        }
                        continue;
                    }
                }
            }
            ready.send_if_modified(|known| std::mem::replace(known, is_ready) != is_ready);
            let pause = if is_ready { LOOK_EVERY } else { LOOK_SOON };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = looks.changed() => if changed.is_err() { return },
            }
            if let Some(fresh) = self.node.get(None, &self.config.name) {
                node = (*fresh).clone();
            }
        }
    }

    async fn write(&self, api: &Api<Node>, node: &Node, status: &NodeStatus) -> Result<Node, kube::Error> {
        let patch = json!({"metadata": {"uid": node.metadata.uid}, "status": patch(status)});
        api.patch_status(&self.config.name, &PatchParams::default(), &Patch::Strategic(patch)).await
    }

    /// The status as it is now. Conditions keep their transition time while their status stays.
    async fn look(&self, node: &Node) -> NodeStatus {
        let runtime_problem = self.runtime_problem().await;
        let old = node.status.clone().unwrap_or_default();
        let mut capacity = self.amounts(self.machine.memory_bytes, self.machine.disk_bytes.to_string());
        // Kubelet keeps a tenth of the disk for itself, the point where eviction begins.
        let disk = (self.machine.disk_bytes / 10 * 9).to_string();
        let mut allocatable = self.amounts(self.machine.allocatable_memory_bytes(), disk);
        // Extended resources that others put there stay.
        let known = ["cpu", "memory", "pods", "ephemeral-storage"];
        for (from, to) in [(&old.capacity, &mut capacity), (&old.allocatable, &mut allocatable)] {
            for (name, amount) in from.iter().flatten() {
                if !known.contains(&name.as_str()) && !name.starts_with("hugepages-") {
                    to.insert(name.clone(), amount.clone());
                }
            }
        }
        NodeStatus {
            addresses: Some(self.addresses()),
            allocatable: Some(allocatable),
            capacity: Some(capacity),
            conditions: Some(self.conditions(old.conditions.as_deref().unwrap_or_default(), runtime_problem)),
            daemon_endpoints: Some(NodeDaemonEndpoints {
                kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(self.config.kubelet_port) }),
            }),
            images: self.listed_images().await.or(old.images),
            node_info: self.info().await.or(old.node_info),
            ..NodeStatus::default()
        }
    }

    fn amounts(&self, memory_bytes: u64, disk: String) -> BTreeMap<String, Quantity> {
        let mut amounts = BTreeMap::from([
            ("cpu".to_owned(), Quantity(self.machine.cpus.to_string())),
            ("memory".to_owned(), Quantity(format!("{}Ki", memory_bytes / 1024))),
            ("pods".to_owned(), Quantity(self.config.max_pods.to_string())),
            ("ephemeral-storage".to_owned(), Quantity(disk)),
        ]);
        for (kib, bytes) in &self.machine.huge_pages {
            let size = if kib % (1 << 20) == 0 { format!("{}Gi", kib >> 20) } else { format!("{}Mi", kib >> 10) };
            amounts.insert(format!("hugepages-{size}"), Quantity(bytes.to_string()));
        }
        amounts
    }

    fn addresses(&self) -> Vec<NodeAddress> {
        let internal =
            self.config.ips.iter().map(|ip| NodeAddress { address: ip.to_string(), type_: "InternalIP".into() });
        let name = NodeAddress { address: self.config.name.clone(), type_: "Hostname".into() };
        internal.chain([name]).collect()
    }

    /// Why the runtime cannot run pods; `None` when it can.
    async fn runtime_problem(&self) -> Option<String> {
        let status = match self.runtime.status(false).await {
            Ok(status) => status.status.unwrap_or_default(),
            Err(error) => return Some(format!("[container runtime is down: {}]", Chain(&error))),
        };
        let problems: Vec<String> = [("RuntimeReady", "container runtime is not ready"), ("NetworkReady", "container runtime network not ready")]
            .iter()
            .filter_map(|(kind, text)| match status.conditions.iter().find(|condition| condition.r#type == *kind) {
                Some(condition) if condition.status => None,
                Some(condition) => {
                    Some(format!("{text}: {kind}=false reason:{} message:{}", condition.reason, condition.message))
                }
                None => Some(format!("{text}: {kind} is unknown")),
            })
            .collect();
        (!problems.is_empty()).then(|| problems.join(", "))
    }

    fn conditions(&self, old: &[NodeCondition], runtime_problem: Option<String>) -> Vec<NodeCondition> {
        let disk_short = disk::space(&self.config.data_dir).is_ok_and(|space| {
            space.free_bytes * 100 < space.total_bytes * DISK_PERCENT
                || space.free_inodes * 100 < space.total_inodes * INODES_PERCENT
        });
        let pids_short = Machine::processes().is_some_and(|(used, most)| used * 10 > most * 9);
        let pressure = |kind: &str, short: bool, bad: (&str, &str), good: (&str, &str)| {
            let (reason, message) = if short { bad } else { good };
            (kind.to_owned(), if short { "True" } else { "False" }, reason.to_owned(), message.to_owned())
        };
        let ready = match runtime_problem {
            None => ("Ready".to_owned(), "True", "KubeletReady".to_owned(), "kubelet is posting ready status".to_owned()),
            Some(problem) => ("Ready".to_owned(), "False", "KubeletNotReady".to_owned(), problem),
        };
        let wanted = [
            pressure(
                "MemoryPressure",
                Machine::is_memory_short(),
                ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
                ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ),
            pressure(
                "DiskPressure",
                disk_short,
                ("KubeletHasDiskPressure", "kubelet has disk pressure"),
                ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ),
            pressure(
                "PIDPressure",
                pids_short,
                ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
                ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ),
            ready,
        ];
        let now = time::now();
        wanted
            .into_iter()
            .map(|(kind, status, reason, message)| {
                let since = old
                    .iter()
                    .find(|condition| condition.type_ == kind && condition.status == status)
                    .and_then(|condition| condition.last_transition_time.clone());
                NodeCondition {
                    type_: kind,
                    status: status.to_owned(),
                    reason: Some(reason),
                    message: Some(message),
                    last_heartbeat_time: Some(now.clone()),
                    last_transition_time: since.or_else(|| Some(now.clone())),
                }
            })
            .collect()
    }

    async fn listed_images(&self) -> Option<Vec<ContainerImage>> {
        let mut images = self.images.list(None).await.ok()?;
        images.sort_by_key(|image| (std::cmp::Reverse(image.size), image.id.clone()));
        Some(
            images
                .into_iter()
                .take(IMAGES_AT_MOST)
                .map(|image| ContainerImage {
                    names: Some(image.repo_digests.into_iter().chain(image.repo_tags).collect()),
                    size_bytes: i64::try_from(image.size).ok(),
                })
                .collect(),
        )
    }

    async fn info(&self) -> Option<NodeSystemInfo> {
        let version = self.runtime.version().await.ok()?;
        let machine = self.machine.clone();
        Some(NodeSystemInfo {
            architecture: machine.architecture.to_owned(),
            boot_id: machine.boot_id,
            container_runtime_version: format!("{}://{}", version.runtime_name, version.runtime_version),
            kernel_version: machine.kernel,
            kube_proxy_version: String::new(),
            kubelet_version: self.config.kubelet_version.clone(),
            machine_id: machine.machine_id,
            operating_system: "linux".into(),
            os_image: machine.os_image,
            swap: None,
            system_uuid: machine.system_uuid,
        })
    }
}

fn is_ready(status: &NodeStatus) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether anything but heartbeat times is different.
fn differs(old: Option<&NodeStatus>, new: &NodeStatus) -> bool {
    let Some(old) = old else { return true };
    let conditions = |status: &NodeStatus| -> Vec<NodeCondition> {
        let mut conditions = status.conditions.clone().unwrap_or_default();
        conditions.retain(|condition| new.conditions.iter().flatten().any(|new| new.type_ == condition.type_));
        conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        conditions.into_iter().map(|condition| NodeCondition { last_heartbeat_time: None, ..condition }).collect()
    };
    let bare = |status: &NodeStatus| NodeStatus {
        conditions: Some(conditions(status)),
        images: status.images.clone().filter(|images| !images.is_empty()),
        addresses: status.addresses.clone(),
        allocatable: status.allocatable.clone(),
        capacity: status.capacity.clone(),
        daemon_endpoints: status.daemon_endpoints.clone(),
        node_info: status.node_info.clone(),
        ..NodeStatus::default()
    };
    bare(old) != bare(new)
}

/// The status as a strategic merge patch; addresses and images are lists that are replaced whole.
fn patch(status: &NodeStatus) -> Value {
    let mut value = json!(status);
    if let Some(addresses) = value.get_mut("addresses").and_then(Value::as_array_mut) {
        addresses.push(json!({"$patch": "replace"}));
    }
    value
}
