//! What to do next for a pod: a pure function of its spec and of what runs.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::backoff::{Backoffs, Wait};
use super::state::{PodState, RunState};
use crate::spec::{is_sidecar, labels, list, pod_spec};

/// Why a running container is to be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// Id in the runtime.
    pub id: String,
    /// Name in the pod.
    pub name: String,
    /// For the event.
    pub message: String,
    /// Which probe wants it, if one does.
    pub probe: bool,
}

/// A container that waits for its back-off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Name in the pod.
    pub name: String,
    /// How long.
    pub wait: Wait,
}

/// The next steps.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Stop all that is left of the old sandbox and make a new one with this attempt.
    pub new_sandbox: Option<u32>,
    /// Containers to stop because they fail a probe or their spec has changed.
    pub kill: Vec<Kill>,
    /// Names of containers to start, in order.
    pub start: Vec<String>,
    /// Containers that would be started but for their back-off.
    pub waiting: Vec<Waiting>,
    /// Nothing runs and nothing will: the pod has ended.
    pub finished: bool,
}

impl Plan {
    /// When to look again, because of back-offs.
    #[must_use]
    pub fn wake(&self) -> Option<Duration> {
        self.waiting.iter().map(|w| w.wait.remaining).min()
    }
}

/// What the plan depends on.
pub struct Inputs<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// What the runtime has.
    pub state: &'a PodState,
    /// Delays of restarts.
    pub backoffs: &'a Backoffs,
    /// Ids of containers that a liveness or startup probe has given up, with the probe's kind.
    pub failed_probes: &'a [(String, &'static str)],
    /// Whether a container has passed its startup probe (and postStart hook), by id.
    pub started: &'a dyn Fn(&str) -> bool,
    /// Now.
    pub now: Timestamp,
}

/// Whether a container that ended so shall run again.
#[must_use]
pub fn restarts(pod: &Pod, container: &Container, init: bool, exit_code: i32) -> bool {
    let policy = match (init, container.restart_policy.as_deref()) {
        (_, Some(own)) => own,
        (_, None) => pod_spec(pod).restart_policy.as_deref().unwrap_or("Always"),
    };
    match policy {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        // An init container is done when it succeeded, whatever the pod's policy.
        _ => !init || is_sidecar(container) || exit_code != 0,
    }
}

/// Computes the next steps.
#[must_use]
pub fn plan(inputs: &Inputs<'_>) -> Plan {
    let mut plan = Plan::default();
    let spec = pod_spec(inputs.pod);
    if is_finished(inputs.pod, inputs.state) {
        plan.finished = inputs.state.alive().next().is_none();
        // Sidecars have nobody left to serve.
        plan.kill.extend(inputs.state.alive().map(|r| Kill {
            id: r.id.clone(),
            name: r.name.clone(),
            message: format!("Stopping container {}", r.name),
            probe: false,
        }));
        return plan;
    }
    if inputs.state.ready_sandbox().is_none() {
        plan.new_sandbox = Some(inputs.state.sandbox().map_or(0, |s| s.attempt + 1));
    }
    let sandbox = inputs.state.ready_sandbox().map(|s| s.id.as_str());
    for (at, container) in list(&spec.init_containers).iter().enumerate() {
        match init_step(inputs, container, sandbox, &mut plan) {
            InitStep::Done => {}
            InitStep::Wait => return plan,
            InitStep::Sidecar { started } => {
                // The next one may start once this one has passed its startup probe.
                if !started {
                    // Sidecars further on that run from before still need care.
                    for later in &list(&spec.init_containers)[at + 1..] {
                        if is_sidecar(later) && inputs.state.latest(&later.name).is_some_and(|r| r.running())
                        {
                            init_step(inputs, later, sandbox, &mut plan);
                        }
                    }
                    if main_has_run(inputs) {
                        break;
                    }
                    return plan;
                }
            }
        }
    }
    for container in &spec.containers {
        step(inputs, container, false, sandbox, &mut plan);
    }
    plan
}

/// Whether any main container was started in the current sandbox: initialization is then over.
fn main_has_run(inputs: &Inputs<'_>) -> bool {
    let sandbox = inputs.state.ready_sandbox().map(|s| s.id.as_str());
    sandbox.is_some()
        && pod_spec(inputs.pod)
            .containers
            .iter()
            .any(|c| inputs.state.latest(&c.name).is_some_and(|r| Some(r.sandbox_id.as_str()) == sandbox))
}

enum InitStep {
    /// Go on with the next.
    Done,
    /// The rest has to wait.
    Wait,
    /// A sidecar that runs, or was just planned to.
    Sidecar { started: bool },
}

fn init_step(inputs: &Inputs<'_>, container: &Container, sandbox: Option<&str>, plan: &mut Plan) -> InitStep {
    let latest = inputs.state.latest(&container.name).filter(|r| Some(r.sandbox_id.as_str()) == sandbox);
    if is_sidecar(container) {
        let running = latest.filter(|r| r.running());
        step(inputs, container, true, sandbox, plan);
        return InitStep::Sidecar { started: running.is_some_and(|r| (inputs.started)(&r.id)) };
    }
    if main_has_run(inputs) || latest.is_some_and(|r| r.succeeded()) {
        return InitStep::Done;
    }
    if latest.is_some_and(|r| r.running()) {
        return InitStep::Wait;
    }
    step(inputs, container, true, sandbox, plan);
    InitStep::Wait
}

/// Keeps, stops or starts one container.
fn step(inputs: &Inputs<'_>, container: &Container, init: bool, sandbox: Option<&str>, plan: &mut Plan) {
    let Some(record) = inputs.state.latest(&container.name) else {
        plan.start.push(container.name.clone());
        return;
    };
    let in_sandbox = Some(record.sandbox_id.as_str()) == sandbox;
    match record.state {
        RunState::Running if in_sandbox => {
            let failed = inputs.failed_probes.iter().find(|(id, _)| *id == record.id);
            let message = if record.hash != labels::container_hash(container) {
                format!("Container {} definition changed, will be restarted", container.name)
            } else if let Some((_, probe)) = failed {
                format!("Container {} failed {probe} probe, will be restarted", container.name)
            } else {
                return;
            };
            plan.kill.push(Kill {
                id: record.id.clone(),
                name: container.name.clone(),
                message,
                probe: failed.is_some(),
            });
        }
        // A container of a dead sandbox ends with it and is then made anew.
        RunState::Running => plan.start.push(container.name.clone()),
        // Created and never started: an attempt that was cut off.
        RunState::Created => plan.start.push(container.name.clone()),
        RunState::Unknown if in_sandbox => plan.kill.push(Kill {
            id: record.id.clone(),
            name: container.name.clone(),
            message: "Container is in unknown state, try killing it before restart".to_owned(),
            probe: false,
        }),
        RunState::Unknown => plan.start.push(container.name.clone()),
        RunState::Exited => {
            let changed = record.hash != labels::container_hash(container);
            // With a new sandbox an init container runs again whatever it gave before.
            let again = restarts(inputs.pod, container, init, record.exit_code) || (init && !in_sandbox);
            if !again {
                return;
            }
            match inputs.backoffs.check(&container.name, record.finished_at, inputs.now) {
                Some(wait) if !changed => plan.waiting.push(Waiting { name: container.name.clone(), wait }),
                _ => plan.start.push(container.name.clone()),
            }
        }
    }
}

/// Whether every main container has ended for good, or initialization has failed for good.
fn is_finished(pod: &Pod, state: &PodState) -> bool {
    let spec = pod_spec(pod);
    let sandbox = state.sandbox().map(|s| s.id.as_str());
    let init_failed = list(&spec.init_containers).iter().any(|c| {
        !is_sidecar(c)
            && state.latest(&c.name).is_some_and(|r| {
                r.state == RunState::Exited
                    && r.exit_code != 0
                    && Some(r.sandbox_id.as_str()) == sandbox
                    && !restarts(pod, c, true, r.exit_code)
            })
    });
    let mains_alive = spec.containers.iter().any(|c| state.latest(&c.name).is_some_and(|r| r.running()));
    if init_failed && !mains_alive {
        return true;
    }
    !spec.containers.is_empty()
        && spec.containers.iter().all(|c| {
            state
                .latest(&c.name)
                .is_some_and(|r| r.state == RunState::Exited && !restarts(pod, c, false, r.exit_code))
        })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
