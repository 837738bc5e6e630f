//! The node's status.

use std::time::Duration;

use copepod_cri::{Images, Runtime};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::NodeParts;
use crate::pods::status::whole_seconds;
use crate::spec::list;

/// The status is sent again after this time without a change.
const RESEND: Duration = Duration::from_secs(300);
/// Most images told.
const MAX_IMAGES: usize = 50;
/// Less available memory than this is pressure, in KiB.
const LOW_MEMORY_KIB: u64 = 100 << 10;
/// Less free disk than this share is pressure, in percent.
const LOW_DISK: u64 = 5;
/// Fewer free process ids than this share is pressure, in percent.
const LOW_PIDS: u64 = 10;

/// How things are.
pub(super) struct Observed {
    /// The runtime works, or why not.
    pub(super) runtime: Result<(), String>,
    /// The runtime has a network for pods, or why not.
    pub(super) network: Result<(), String>,
    /// Name and version of the runtime as it says.
    pub(super) version: Option<String>,
    /// Images of the runtime.
    pub(super) images: Vec<ContainerImage>,
}

/// What was sent last.
pub(super) struct Sent {
    pub(super) status: NodeStatus,
    pub(super) at: Instant,
}

/// Asks the runtime.
pub(super) async fn observe(runtime: &dyn Runtime) -> Observed {
    let down = |error: copepod_cri::Error| {
        let error = copepod_base::Chain(&error).to_string();
        Observed {
            network: Err("container runtime status check may not have completed yet".to_owned()),
            runtime: Err(format!("container runtime is down: {error}")),
            version: None,
            images: Vec::new(),
        }
    };
    let (version, status) = match futures::try_join!(runtime.version(), runtime.status(false)) {
        Ok(both) => both,
        Err(error) => return down(error),
    };
    let conditions = status.status.map(|s| s.conditions).unwrap_or_default();
    let check = |name: &str, what: &str| match conditions.iter().find(|c| c.r#type == name) {
        Some(c) if c.status => Ok(()),
        Some(c) => Err(format!("{what} not ready: {name}=false reason:{} message:{}", c.reason, c.message)),
        None => Err(format!("{what} not ready: {name} is not reported")),
    };
    Observed {
        runtime: check("RuntimeReady", "container runtime"),
        network: check("NetworkReady", "container runtime network"),
        version: Some(format!("{}://{}", version.runtime_name, version.runtime_version)),
        images: Vec::new(),
    }
}

/// Images the runtime has, the largest first.
pub(super) async fn images(images: &dyn Images) -> Vec<ContainerImage> {
    let Ok(mut found) = images.list(None).await else { return Vec::new() };
    found.sort_by_key(|image| std::cmp::Reverse(image.size));
    found
        .into_iter()
        .take(MAX_IMAGES)
        .map(|image| ContainerImage {
            names: Some(image.repo_digests.into_iter().chain(image.repo_tags).collect()),
            size_bytes: i64::try_from(image.size).ok(),
        })
        .collect()
}

/// The status as it should be. Times of conditions are filled in by [`patch`].
pub(super) fn wanted(parts: &NodeParts, node: &Node, observed: &Observed) -> NodeStatus {
    let config = &parts.config;
    let old = node.status.clone().unwrap_or_default();
    let mut info = parts.machine.info.clone();
    info.kubelet_version = format!("v1.36.0+copepod{}", config.version);
    info.container_runtime_version = observed
        .version
        .clone()
        .or_else(|| old.node_info.as_ref().map(|i| i.container_runtime_version.clone()))
        .unwrap_or_default();
    let internal = parts.addresses.iter().map(|ip| address("InternalIP", ip));
    NodeStatus {
        addresses: Some(internal.chain([address("Hostname", &config.node_name)]).collect()),
        capacity: Some(parts.machine.capacity(config.max_pods)),
        allocatable: Some(parts.machine.allocatable(config.max_pods)),
        conditions: Some(conditions(parts, node, observed)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: config.kubelet_port.into() }),
        }),
        images: Some(observed.images.clone()).filter(|i| !i.is_empty()),
        node_info: Some(info),
        ..NodeStatus::default()
    }
}

fn address(kind: &str, address: &str) -> NodeAddress {
    NodeAddress { type_: kind.to_owned(), address: address.to_owned() }
}

fn conditions(parts: &NodeParts, node: &Node, observed: &Observed) -> Vec<NodeCondition> {
    let pressure = Pressure::measure(parts);
    let problems: Vec<&str> = [&observed.runtime, &observed.network]
        .into_iter()
        .filter_map(|r| r.as_ref().err())
        .map(String::as_str)
        .collect();
    let no_network = super::pod_cidrs(node).is_empty() && problems.is_empty();
    let ready = if problems.is_empty() && !no_network {
        (true, "KubeletReady", "kubelet is posting ready status".to_owned())
    } else if no_network {
        (false, "KubeletNotReady", "the node has no pod CIDR yet".to_owned())
    } else {
        (false, "KubeletNotReady", problems.join(", "))
    };
    let state = |on: bool, yes: (&'static str, &str), no: (&'static str, &str)| {
        let (reason, message) = if on { yes } else { no };
        (on, reason, message.to_owned())
    };
    let all = [
        (
            "MemoryPressure",
            state(
                pressure.memory,
                ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
                ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ),
        ),
        (
            "DiskPressure",
            state(
                pressure.disk,
                ("KubeletHasDiskPressure", "kubelet has disk pressure"),
                ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ),
        ),
        (
            "PIDPressure",
            state(
                pressure.pids,
                ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
                ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ),
        ),
        ("Ready", ready),
    ];
    let old = node.status.as_ref().map(|s| list(&s.conditions)).unwrap_or_default();
    let now = Time(whole_seconds(Timestamp::try_from(copepod_base::clock::now()).unwrap_or_default()));
    all.into_iter()
        .map(|(type_, (on, reason, message))| {
            let status = if on { "True" } else { "False" };
            let before = old.iter().find(|c| c.type_ == type_ && c.status == status);
            NodeCondition {
                last_heartbeat_time: Some(now.clone()),
                last_transition_time: before
                    .and_then(|c| c.last_transition_time.clone())
                    .or_else(|| Some(now.clone())),
                message: Some(message),
                reason: Some(reason.to_owned()),
                status: status.to_owned(),
                type_: type_.to_owned(),
            }
        })
        .collect()
}

struct Pressure {
    memory: bool,
    disk: bool,
    pids: bool,
}

impl Pressure {
    fn measure(parts: &NodeParts) -> Self {
        let number = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let available = number("/proc/meminfo")
            .lines()
            .find_map(|l| l.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse::<u64>().ok());
        let disk = nix::sys::statvfs::statvfs(&parts.config.data_dir).ok();
        // The fourth field of loadavg is `running/all` tasks.
        let tasks = number("/proc/loadavg")
            .split_whitespace()
            .nth(3)
            .and_then(|f| f.split_once('/')?.1.parse::<u64>().ok());
        let most = number("/proc/sys/kernel/pid_max").trim().parse::<u64>().ok();
        Self {
            memory: available.is_some_and(|kib| kib < LOW_MEMORY_KIB),
            disk: disk.is_some_and(|d| {
                d.blocks_available() * 100 < d.blocks() * LOW_DISK
                    || (d.files() > 0 && d.files_available() * 100 < d.files() * LOW_DISK)
            }),
            pids: tasks
                .zip(most)
                .is_some_and(|(tasks, most)| (most.saturating_sub(tasks)) * 100 < most * LOW_PIDS),
        }
    }
}

/// The strategic merge patch to send, if it is time: something has changed, or nothing was sent for long.
pub(super) fn patch(node: &Node, wanted: &NodeStatus, sent: Option<&Sent>) -> Option<Value> {
    let old = serde_json::to_value(node.status.clone().unwrap_or_default()).unwrap_or_default();
    let new = serde_json::to_value(wanted).unwrap_or_default();
    let last = sent.map(|s| serde_json::to_value(&s.status).unwrap_or_default());
    let due = sent.is_none_or(|s| s.at.elapsed() >= RESEND);
    let empty = Map::new();
    let mut patch = Map::new();
    let mut changed = due;
    for (key, value) in new.as_object().unwrap_or(&empty) {
        // The cache may lag behind what was sent.
        let same = |other: &Value| match key.as_str() {
            "conditions" => same_conditions(&other[key], value),
            _ => other[key] == *value,
        };
        if same(&old) || last.as_ref().is_some_and(same) {
            continue;
        }
        changed = true;
        let value = match key.as_str() {
            // Addresses have no unique key: merging them would keep old ones.
            "addresses" if old[key].as_array().is_some_and(|a| !a.is_empty()) => {
                let mut items = vec![json!({"$patch": "replace"})];
                items.extend(value.as_array().into_iter().flatten().cloned());
                Value::Array(items)
            }
            _ => value.clone(),
        };
        patch.insert(key.clone(), value);
    }
    if !changed {
        return None;
    }
    // Whenever something is sent, the conditions' heartbeats go along.
    patch.insert("conditions".to_owned(), new["conditions"].clone());
    Some(json!({"status": patch}))
}

/// Whether every new condition is there with the same status, reason and message.
fn same_conditions(old: &Value, new: &Value) -> bool {
    let old = old.as_array().map(Vec::as_slice).unwrap_or_default();
    new.as_array().into_iter().flatten().all(|new| {
        old.iter().any(|old| ["type", "status", "reason", "message"].iter().all(|key| old[key] == new[key]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: Value) -> NodeStatus {
        serde_json::from_value(value).unwrap()
    }

    fn ready(status: &str, heartbeat: &str) -> Value {
        json!({"type": "Ready", "status": status, "reason": "r", "message": "m", "lastHeartbeatTime": heartbeat})
    }

    #[tokio::test(start_paused = true)]
    async fn the_status_is_sent_on_change_and_every_five_minutes() {
        let before = json!({"conditions": [ready("True", "2026-01-01T00:00:00Z")], "capacity": {"cpu": "2"},
            "addresses": [{"type": "InternalIP", "address": "1"}]});
        let node: Node =
            serde_json::from_value(json!({"metadata": {"name": "n"}, "status": before})).unwrap();
        let same =
            status(json!({"conditions": [ready("True", "2026-01-01T00:01:00Z")], "capacity": {"cpu": "2"},
            "addresses": [{"type": "InternalIP", "address": "1"}]}));
        let sent = Sent { status: same.clone(), at: Instant::now() };
        assert_eq!(patch(&node, &same, Some(&sent)), None);
        tokio::time::advance(RESEND).await;
        let beat = patch(&node, &same, Some(&sent)).unwrap();
        assert_eq!(beat["status"]["conditions"][0]["lastHeartbeatTime"], "2026-01-01T00:01:00Z");
        let sent = Sent { status: same.clone(), at: Instant::now() };
        let moved =
            status(json!({"conditions": [ready("True", "2026-01-01T00:01:00Z")], "capacity": {"cpu": "2"},
            "addresses": [{"type": "InternalIP", "address": "2"}]}));
        let change = patch(&node, &moved, Some(&sent)).unwrap();
        assert_eq!(
            change["status"]["addresses"],
            json!([{"$patch": "replace"}, {"type": "InternalIP", "address": "2"}])
        );
        assert!(change["status"].get("capacity").is_none());
    }
}
