//! The pod's phase.

use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};

use super::Inputs;
use crate::spec::{is_sidecar, list, pod_spec};

#[derive(Default)]
struct Count {
    running: usize,
    waiting: usize,
    stopped: usize,
    succeeded: usize,
    unknown: usize,
}

pub(super) fn phase(
    inputs: &Inputs<'_>,
    old: &PodStatus,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
) -> &'static str {
    if inputs.failure.is_some() {
        return "Failed";
    }
    // An end is final, even when the runtime has forgotten the containers.
    match old.phase.as_deref() {
        Some("Failed") => return "Failed",
        Some("Succeeded") => return "Succeeded",
        _ => {}
    }
    let spec = pod_spec(inputs.pod);
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    let (pending, failed) = initialization(inputs, init);
    let count = count(main, spec.containers.len());
    if failed && policy == "Never" {
        return "Failed";
    }
    // Once main containers have run, a restarting sidecar does not make the pod pending again.
    if (pending || failed) && count.running + count.stopped == 0 {
        return if inputs.terminal { "Failed" } else { "Pending" };
    }
    if inputs.terminal {
        return if count.stopped > 0 && count.succeeded == spec.containers.len() {
            "Succeeded"
        } else {
            "Failed"
        };
    }
    if count.waiting > 0 {
        return "Pending";
    }
    if count.running > 0 && count.unknown == 0 {
        return "Running";
    }
    if count.stopped > 0 && count.unknown == 0 {
        return match policy {
            "Always" => "Running",
            _ if count.stopped == count.succeeded => "Succeeded",
            "Never" => "Failed",
            _ => "Running",
        };
    }
    "Pending"
}

fn count(statuses: &[ContainerStatus], wanted: usize) -> Count {
    let mut count = Count { unknown: wanted.saturating_sub(statuses.len()), ..Count::default() };
    for status in statuses {
        let state = status.state.as_ref();
        if state.is_some_and(|s| s.running.is_some()) {
            count.running += 1;
        } else if let Some(ended) = state.and_then(|s| s.terminated.as_ref()) {
            count.stopped += 1;
            count.succeeded += usize::from(ended.exit_code == 0);
        } else if state.is_some_and(|s| s.waiting.is_some()) {
            let before = status.last_state.as_ref().is_some_and(|s| s.terminated.is_some());
            if before {
                count.stopped += 1;
            } else {
                count.waiting += 1;
            }
        } else {
            count.unknown += 1;
        }
    }
    count
}

/// Whether init containers are still to come, and whether one has failed.
fn initialization(inputs: &Inputs<'_>, statuses: &[ContainerStatus]) -> (bool, bool) {
    let (mut pending, mut failed) = (false, false);
    for container in list(&pod_spec(inputs.pod).init_containers) {
        let Some(status) = statuses.iter().find(|s| s.name == container.name) else {
            pending = true;
            continue;
        };
        let state = status.state.clone().unwrap_or_default();
        let last = status.last_state.as_ref().and_then(|s| s.terminated.as_ref());
        if is_sidecar(container) {
            match (state.running, state.terminated, last) {
                (Some(_), _, _) => pending |= status.started != Some(true),
                (None, None, None) => pending = true,
                _ => {}
            }
        } else if let Some(ended) = &state.terminated {
            failed |= ended.exit_code != 0;
        } else if state.waiting.is_some()
            && let Some(last) = last
        {
            failed |= last.exit_code != 0;
            pending |= last.exit_code == 0;
        } else {
            pending = true;
        }
    }
    (pending, failed)
}
