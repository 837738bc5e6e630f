//! The pod's conditions. Those the agent does not own are kept as they are.

use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Inputs, whole_seconds};
use crate::spec::{host_network, is_sidecar, list, pod_spec};

/// Conditions that the agent sets.
pub(crate) const OWNED: &[&str] =
    &["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

struct Draft {
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Draft {
    fn yes() -> Self {
        Self { status: true, reason: None, message: None }
    }

    fn no(reason: &'static str, message: Option<String>) -> Self {
        Self { status: false, reason: Some(reason), message }
    }
}

pub(super) fn conditions(inputs: &Inputs<'_>, old: &PodStatus, status: &PodStatus) -> Vec<PodCondition> {
    // The API's own copy has the newest state of conditions others write.
    let known = inputs.pod.status.as_ref().map(|s| list(&s.conditions)).unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or_default();
    let containers_ready = containers_ready(inputs, status, phase);
    let drafts = [
        ("PodReadyToStartContainers", sandbox_ready(inputs)),
        ("Initialized", initialized(inputs, list(&status.init_container_statuses), phase)),
        ("Ready", ready(inputs, known, &containers_ready)),
        ("ContainersReady", containers_ready),
        ("PodScheduled", Draft::yes()),
    ];
    let mut result: Vec<PodCondition> = drafts
        .into_iter()
        .map(|(type_, draft)| {
            let text = if draft.status { "True" } else { "False" };
            let before = list(&old.conditions).iter().chain(known).find(|c| c.type_ == type_);
            let same = before.filter(|c| c.status == text);
            PodCondition {
                last_probe_time: None,
                last_transition_time: same
                    .and_then(|c| c.last_transition_time.clone())
                    .or(Some(Time(whole_seconds(inputs.now)))),
                message: draft.message,
                observed_generation: inputs.pod.metadata.generation,
                reason: draft.reason.map(str::to_owned),
                status: text.to_owned(),
                type_: type_.to_owned(),
            }
        })
        .collect();
    result.extend(known.iter().filter(|c| !OWNED.contains(&c.type_.as_str())).cloned());
    result
}

fn sandbox_ready(inputs: &Inputs<'_>) -> Draft {
    let ready = inputs.state.ready_sandbox().is_some_and(|s| host_network(inputs.pod) || !s.ips.is_empty());
    Draft { status: ready, reason: None, message: None }
}

fn initialized(inputs: &Inputs<'_>, statuses: &[ContainerStatus], phase: &str) -> Draft {
    let spec = pod_spec(inputs.pod);
    if list(&spec.init_containers).is_empty() {
        return Draft::yes();
    }
    if phase == "Succeeded" {
        return Draft { status: true, reason: Some("PodCompleted"), message: None };
    }
    let mut unknown = Vec::new();
    let mut incomplete = Vec::new();
    for container in list(&spec.init_containers) {
        match statuses.iter().find(|s| s.name == container.name) {
            None => unknown.push(container.name.as_str()),
            Some(s) if is_sidecar(container) => {
                if s.started != Some(true) {
                    incomplete.push(container.name.as_str());
                }
            }
            Some(s) if !s.ready => incomplete.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    if phase == "Failed" && unknown.len() == list(&spec.init_containers).len() {
        return Draft::no("PodFailed", None);
    }
    // Once the main containers have started, initialization is over: sidecars may restart.
    let running = list_running(inputs);
    if (unknown.is_empty() && incomplete.is_empty()) || running {
        return Draft::yes();
    }
    Draft::no("ContainersNotInitialized", Some(lists("incomplete", &unknown, &incomplete)))
}

fn list_running(inputs: &Inputs<'_>) -> bool {
    let sandbox = inputs.state.ready_sandbox().map(|s| s.id.as_str());
    sandbox.is_some()
        && pod_spec(inputs.pod)
            .containers
            .iter()
            .any(|c| inputs.state.latest(&c.name).is_some_and(|r| Some(r.sandbox_id.as_str()) == sandbox))
}

fn containers_ready(inputs: &Inputs<'_>, status: &PodStatus, phase: &str) -> Draft {
    let spec = pod_spec(inputs.pod);
    match phase {
        "Succeeded" => return Draft::no("PodCompleted", None),
        "Failed" => return Draft::no("PodFailed", None),
        _ => {}
    }
    let mut unknown = Vec::new();
    let mut unready = Vec::new();
    let sidecars = list(&spec.init_containers).iter().filter(|c| is_sidecar(c));
    let all = list(&status.init_container_statuses).iter().chain(list(&status.container_statuses));
    let all: Vec<&ContainerStatus> = all.collect();
    for container in sidecars.chain(&spec.containers) {
        match all.iter().find(|s| s.name == container.name) {
            None => unknown.push(container.name.as_str()),
            Some(s) if !s.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    if unknown.is_empty() && unready.is_empty() {
        return Draft::yes();
    }
    Draft::no("ContainersNotReady", Some(lists("unready", &unknown, &unready)))
}

fn ready(inputs: &Inputs<'_>, known: &[PodCondition], containers: &Draft) -> Draft {
    if !containers.status {
        return Draft { status: false, reason: containers.reason, message: containers.message.clone() };
    }
    let mut unready = Vec::new();
    for gate in list(&pod_spec(inputs.pod).readiness_gates) {
        let gate = &gate.condition_type;
        match known.iter().find(|c| c.type_ == *gate) {
            None => unready
                .push(format!("corresponding condition of pod readiness gate \"{gate}\" does not exist.")),
            Some(c) if c.status != "True" => {
                unready.push(format!(
                    "the status of pod readiness gate \"{gate}\" is not \"True\", but {}",
                    c.status
                ));
            }
            Some(_) => {}
        }
    }
    if unready.is_empty() {
        Draft::yes()
    } else {
        Draft::no("ReadinessGatesNotReady", Some(unready.join(", ")))
    }
}

fn lists(word: &str, unknown: &[&str], other: &[&str]) -> String {
    let part = |word: &str, names: &[&str]| format!("containers with {word} status: [{}]", names.join(" "));
    match (unknown.is_empty(), other.is_empty()) {
        (false, false) => format!("{}, {}", part("unknown", unknown), part(word, other)),
        (false, true) => part("unknown", unknown),
        _ => part(word, other),
    }
}
