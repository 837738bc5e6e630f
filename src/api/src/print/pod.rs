//! Pods and pod templates.

use serde_json::Value;

use super::duration::human;
use super::tree::{age, at, flag, joined, labels, list, name, number, or_none, seconds, text};
use super::{AGE, NAME, Printer, column, wide};
use crate::strategy::Cell;

/// `kubectl get pods`.
pub(crate) static POD: Printer = Printer {
    columns: &[
        NAME,
        column("Ready", "string"),
        column("Status", "string"),
        column("Restarts", "string"),
        AGE,
        wide("IP", "string"),
        wide("Node", "string"),
        wide("Nominated Node", "string"),
        wide("Readiness Gates", "string"),
    ],
    row: pod,
};

/// `kubectl get podtemplates`.
pub(crate) static TEMPLATE: Printer = Printer {
    columns: &[
        NAME,
        column("Containers", "string"),
        column("Images", "string"),
        column("Pod Labels", "string"),
    ],
    row: |object, _| {
        let [containers, images] = containers(at(object, "template"));
        vec![name(object), containers, images, labels(at(object, "template.metadata.labels"))]
    },
};

/// Names and images of the containers of a pod or template.
pub(super) fn containers(template: &Value) -> [Cell; 2] {
    let containers = list(template, "spec.containers");
    [
        Cell::from(containers.iter().map(|c| text(c, "name")).collect::<Vec<_>>().join(",")),
        Cell::from(containers.iter().map(|c| text(c, "image")).collect::<Vec<_>>().join(",")),
    ]
}

fn pod(pod: &Value, now: i64) -> Vec<Cell> {
    let summary = Summary::of(pod);
    let restarts = match summary.restarts.last {
        Some(then) if summary.restarts.count != 0 => {
            format!("{} ({} ago)", summary.restarts.count, human(now - then))
        }
        _ => summary.restarts.count.to_string(),
    };
    let ip = match list(pod, "status.podIPs") {
        [first, ..] => text(first, "ip"),
        [] => text(pod, "status.podIP"),
    };
    vec![
        name(pod),
        Cell::from(format!("{}/{}", summary.ready, summary.total)),
        Cell::from(summary.reason),
        Cell::from(restarts),
        age(pod, now),
        or_none(ip),
        or_none(text(pod, "spec.nodeName")),
        or_none(text(pod, "status.nominatedNodeName")),
        or_none(&gates(pod)),
    ]
}

fn gates(pod: &Value) -> String {
    let gates = list(pod, "spec.readinessGates");
    if gates.is_empty() {
        return String::new();
    }
    let open = gates.iter().filter(|gate| condition(pod, text(gate, "conditionType"))).count();
    format!("{open}/{}", gates.len())
}

fn condition(pod: &Value, type_: &str) -> bool {
    list(pod, "status.conditions")
        .iter()
        .any(|condition| text(condition, "type") == type_ && text(condition, "status") == "True")
}

/// How often containers were started again, and when last, in seconds since 1970.
#[derive(Default, Clone, Copy)]
struct Restarts {
    count: i64,
    last: Option<i64>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += number(status, "restartCount");
        self.last = self.last.max(seconds(status, "lastState.terminated.finishedAt"));
    }
}

/// What the containers say together.
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: Restarts,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let sidecars: Vec<&str> = list(pod, "spec.initContainers")
            .iter()
            .filter(|container| text(container, "restartPolicy") == "Always")
            .map(|container| text(container, "name"))
            .collect();
        let mut summary = Summary {
            reason: first_reason(pod),
            ready: 0,
            total: list(pod, "spec.containers").len() + sidecars.len(),
            restarts: Restarts::default(),
        };
        let mut sidecar_restarts = Restarts::default();
        let initializing = summary.init_containers(pod, &sidecars, &mut sidecar_restarts);
        if !initializing || condition(pod, "Initialized") {
            summary.restarts = sidecar_restarts;
            summary.containers(pod);
        }
        if !at(pod, "metadata.deletionTimestamp").is_null() {
            if text(pod, "status.reason") == "NodeLost" {
                "Unknown".clone_into(&mut summary.reason);
            } else if !matches!(text(pod, "status.phase"), "Succeeded" | "Failed") {
                "Terminating".clone_into(&mut summary.reason);
            }
        }
        summary
    }

    /// Takes the state of the first init container that is not done; gives whether there is one.
    fn init_containers(&mut self, pod: &Value, sidecars: &[&str], sidecar_restarts: &mut Restarts) -> bool {
        for (index, status) in list(pod, "status.initContainerStatuses").iter().enumerate() {
            self.restarts.add(status);
            let sidecar = sidecars.contains(&text(status, "name"));
            if sidecar {
                sidecar_restarts.add(status);
            }
            let terminated = at(status, "state.terminated");
            if !terminated.is_null() && number(terminated, "exitCode") == 0 {
                continue;
            }
            if sidecar && flag(status, "started") {
                self.ready += usize::from(flag(status, "ready"));
                continue;
            }
            let waiting = text(status, "state.waiting.reason");
            self.reason = if !terminated.is_null() {
                format!("Init:{}", end(terminated))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", list(pod, "spec.initContainers").len())
            };
            return true;
        }
        false
    }

    /// The first container that waits or ended says why.
    fn containers(&mut self, pod: &Value) {
        let mut running = false;
        for status in list(pod, "status.containerStatuses").iter().rev() {
            self.restarts.add(status);
            let waiting = text(status, "state.waiting.reason");
            let terminated = at(status, "state.terminated");
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.reason);
            } else if !terminated.is_null() {
                self.reason = end(terminated);
            } else if flag(status, "ready") && !at(status, "state.running").is_null() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            let reason = if condition(pod, "Ready") { "Running" } else { "NotReady" };
            reason.clone_into(&mut self.reason);
        }
    }
}

/// The phase, or what the pod's status says is special about it.
fn first_reason(pod: &Value) -> String {
    let gated = list(pod, "status.conditions").iter().any(|condition| {
        text(condition, "type") == "PodScheduled" && text(condition, "reason") == "SchedulingGated"
    });
    let reason = text(pod, "status.reason");
    if gated {
        "SchedulingGated".to_owned()
    } else if reason.is_empty() {
        text(pod, "status.phase").to_owned()
    } else {
        reason.to_owned()
    }
}

/// Why a container ended.
fn end(terminated: &Value) -> String {
    let (reason, signal) = (text(terminated, "reason"), number(terminated, "signal"));
    if !reason.is_empty() {
        reason.to_owned()
    } else if signal != 0 {
        format!("Signal:{signal}")
    } else {
        format!("ExitCode:{}", number(terminated, "exitCode"))
    }
}

/// Texts of a list with commas between.
pub(super) fn texts(object: &Value, path: &str) -> Cell {
    joined(list(object, path).iter().filter_map(Value::as_str))
}
