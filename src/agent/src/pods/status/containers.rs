//! Statuses of the pod's containers.

use copepod_cri::v1::LinuxContainerUser;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, ContainerUser, LinuxContainerUser as ApiUser, PodStatus, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::plan::restarts;
use super::super::state::{Record, RunState};
use super::{Inputs, whole_seconds};
use crate::spec::{is_sidecar, list, pod_spec};

/// Statuses of init containers and of containers, in the order of the spec.
pub(super) fn statuses(inputs: &Inputs<'_>, old: &PodStatus) -> (Vec<ContainerStatus>, Vec<ContainerStatus>) {
    let spec = pod_spec(inputs.pod);
    let init: Vec<ContainerStatus> = list(&spec.init_containers)
        .iter()
        .map(|c| {
            status(inputs, c, true, "PodInitializing", find(list(&old.init_container_statuses), &c.name))
        })
        .collect();
    // Until initialization is over, main containers wait for it; a rejected pod never gets that far.
    let default = if init.is_empty() { "ContainerCreating" } else { "PodInitializing" };
    let main = spec
        .containers
        .iter()
        .map(|c| status(inputs, c, false, default, find(list(&old.container_statuses), &c.name)))
        .collect();
    if inputs.failure.is_some() && inputs.state.records.is_empty() && list(&old.container_statuses).is_empty()
    {
        return (Vec::new(), Vec::new());
    }
    (init, main)
}

fn find<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|s| s.name == name)
}

fn status(
    inputs: &Inputs<'_>,
    container: &Container,
    init: bool,
    default: &str,
    old: Option<&ContainerStatus>,
) -> ContainerStatus {
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        started: Some(false),
        state: Some(waiting(default, "")),
        last_state: Some(ContainerState::default()),
        restart_count: old.map_or(0, |o| o.restart_count),
        volume_mounts: volume_mounts(container),
        ..ContainerStatus::default()
    };
    match inputs.state.latest(&container.name) {
        Some(record) => from_record(inputs, container, record, old, &mut status),
        None => from_memory(inputs, container, old, &mut status),
    }
    if let Some(reason) = inputs.waiting.get(&container.name) {
        let state = status.state.clone().unwrap_or_default();
        let again = match &state.terminated {
            Some(ended) => restarts(inputs.pod, container, init, ended.exit_code),
            None => state.running.is_none(),
        };
        if again && !inputs.terminal {
            if state.terminated.is_some() {
                status.last_state = Some(state);
            }
            status.state = Some(waiting(&reason.reason, &reason.message));
        }
    }
    set_health(inputs, container, init, &mut status);
    status
}

fn from_record(
    inputs: &Inputs<'_>,
    container: &Container,
    record: &Record,
    old: Option<&ContainerStatus>,
    status: &mut ContainerStatus,
) {
    let runtime = inputs.node.runtime_name.as_str();
    let count = i32::try_from(record.restart_count).unwrap_or(i32::MAX);
    status.restart_count = count.max(status.restart_count);
    if !record.image.is_empty() && !record.image.starts_with("sha256:") {
        status.image.clone_from(&record.image);
    }
    status.image_id.clone_from(&record.image_ref);
    status.container_id = Some(container_id(runtime, &record.id));
    status.user = user(record.user.as_ref());
    match record.state {
        RunState::Running => {
            status.state = Some(ContainerState {
                running: Some(ContainerStateRunning {
                    started_at: Some(Time(whole_seconds(record.started_at))),
                }),
                ..ContainerState::default()
            });
            let resources = container.resources.clone();
            status.allocated_resources = resources.as_ref().and_then(|r| r.requests.clone());
            status.resources = Some(resources.unwrap_or_default());
        }
        RunState::Exited => status.state = Some(terminated(runtime, record)),
        RunState::Created | RunState::Unknown => {}
    }
    if let Some(previous) = inputs.state.previous(&container.name)
        && previous.state == RunState::Exited
    {
        status.last_state = Some(terminated(runtime, previous));
    } else if let Some(last) = old.and_then(|o| o.last_state.as_ref()).filter(|l| l.terminated.is_some()) {
        // The runtime has forgotten the attempt before; the API remembers.
        status.last_state = Some(last.clone());
    }
}

/// The runtime knows nothing of the container: what was reported before still holds, or it got lost.
fn from_memory(
    inputs: &Inputs<'_>,
    container: &Container,
    old: Option<&ContainerStatus>,
    status: &mut ContainerStatus,
) {
    let Some(old) = old else { return };
    let state = old.state.clone().unwrap_or_default();
    if state.terminated.is_some() {
        status.state = Some(state);
    } else if state.running.is_some() {
        let lost = ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: 137,
                reason: Some("ContainerStatusUnknown".to_owned()),
                message: Some("The container could not be located when the pod was terminated".to_owned()),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        };
        if inputs.terminal {
            status.state = Some(lost);
        } else {
            status.last_state = Some(lost);
        }
    } else if let Some(last) = &old.last_state {
        status.last_state = Some(last.clone());
    }
    if status.state.as_ref().is_some_and(|s| s.terminated.is_some()) {
        status.container_id.clone_from(&old.container_id);
        status.image_id.clone_from(&old.image_id);
        status.image.clone_from(&old.image);
    }
    if inputs.terminal && status.state.as_ref().is_some_and(|s| s.terminated.is_none()) {
        status.image = container.image.clone().unwrap_or_default();
    }
}

fn set_health(inputs: &Inputs<'_>, container: &Container, init: bool, status: &mut ContainerStatus) {
    let state = status.state.clone().unwrap_or_default();
    if state.running.is_some() {
        let id = inputs.state.latest(&container.name).map(|r| r.id.as_str()).unwrap_or_default();
        let health = (inputs.health)(id);
        status.started = Some(health.started);
        status.ready = health.started && health.ready && (!init || is_sidecar(container));
    } else {
        status.started = Some(false);
        status.ready = init && !is_sidecar(container) && state.terminated.is_some_and(|t| t.exit_code == 0);
    }
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()).filter(|m| !m.is_empty()),
        }),
        ..ContainerState::default()
    }
}

fn terminated(runtime: &str, record: &Record) -> ContainerState {
    let text = |text: &String| Some(text.clone()).filter(|t| !t.is_empty());
    let reason = text(&record.reason)
        .unwrap_or_else(|| if record.exit_code == 0 { "Completed".to_owned() } else { "Error".to_owned() });
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(container_id(runtime, &record.id)),
            exit_code: record.exit_code,
            finished_at: Some(Time(whole_seconds(record.finished_at))),
            message: text(&record.message),
            reason: Some(reason),
            signal: None,
            started_at: Some(Time(whole_seconds(record.started_at))),
        }),
        ..ContainerState::default()
    }
}

/// Ids carry the kind of runtime.
fn container_id(runtime: &str, id: &str) -> String {
    format!("{runtime}://{id}")
}

fn user(user: Option<&LinuxContainerUser>) -> Option<ContainerUser> {
    user.map(|u| ContainerUser {
        linux: Some(ApiUser {
            uid: u.uid,
            gid: u.gid,
            supplemental_groups: Some(u.supplemental_groups.clone()).filter(|g| !g.is_empty()),
        }),
    })
}

fn volume_mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts: Vec<VolumeMountStatus> = list(&container.volume_mounts)
        .iter()
        .map(|m| VolumeMountStatus {
            mount_path: m.mount_path.clone(),
            name: m.name.clone(),
            read_only: m.read_only.filter(|r| *r),
            recursive_read_only: (m.read_only == Some(true))
                .then(|| m.recursive_read_only.clone().unwrap_or_else(|| "Disabled".to_owned())),
            ..VolumeMountStatus::default()
        })
        .collect();
    Some(mounts).filter(|m| !m.is_empty())
}
