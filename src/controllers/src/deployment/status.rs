//! What a Deployment says of itself.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};

use super::rollout::Bounds;
use super::template::desired;
use crate::condition::{self, Condition as _};

/// Why the Deployment is where it is, as far as the loop knows and the counts do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A ReplicaSet was made for a new template.
    Created(String),
    /// A ReplicaSet that was there already has the new template, as after a rollback.
    Found(String),
    /// The newest set could not be made.
    Failed(String),
    /// Nothing of these.
    Going,
}

/// `progressDeadlineSeconds` that means "none".
const NO_DEADLINE: i32 = i32::MAX;

/// The status, and when the progress deadline will have passed.
pub(super) fn status(
    deployment: &Deployment,
    newest: Option<&ReplicaSet>,
    all: &[Arc<ReplicaSet>],
    step: &Step,
    now: Timestamp,
) -> (DeploymentStatus, Option<Duration>) {
    let sum = |of: fn(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> i32| -> i32 {
        all.iter().filter_map(|set| set.status.as_ref()).map(of).sum()
    };
    let old = deployment.status.clone().unwrap_or_default();
    let replicas = sum(|status| status.replicas);
    let available = sum(|status| status.available_replicas.unwrap_or(0));
    let requested: i32 = all.iter().map(|set| super::template::replicas(set)).sum();
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(replicas),
        updated_replicas: Some(
            newest.and_then(|set| set.status.as_ref()).map_or(0, |status| status.replicas),
        ),
        ready_replicas: Some(sum(|status| status.ready_replicas.unwrap_or(0))),
        available_replicas: Some(available),
        unavailable_replicas: Some((requested - available).max(0)),
        terminating_replicas: Some(sum(|status| status.terminating_replicas.unwrap_or(0))),
        collision_count: old.collision_count,
        conditions: None,
    };
    let mut conditions = old.conditions.clone().unwrap_or_default();
    let is_available = available >= desired(deployment) - Bounds::of(deployment).unavailable;
    condition::set(
        &mut conditions,
        if is_available {
            condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            condition(
                "Available",
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            )
        },
    );
    let failure = all
        .iter()
        .flat_map(|set| set.status.iter().flat_map(|status| status.conditions.iter().flatten()))
        .find(|condition| condition.type_ == "ReplicaFailure");
    match failure {
        Some(failure) => condition::set(
            &mut conditions,
            condition(
                "ReplicaFailure",
                &failure.status,
                failure.reason.as_deref().unwrap_or_default(),
                failure.message.as_deref().unwrap_or_default(),
            ),
        ),
        None => condition::remove(&mut conditions, "ReplicaFailure"),
    }
    let again = progress(deployment, newest, &old, &status, &mut conditions, step, now);
    status.conditions = Some(conditions);
    (status, again)
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> DeploymentCondition {
    DeploymentCondition::new(kind, status, reason, message)
}

/// Sets `Progressing`; gives the time until the deadline.
fn progress(
    deployment: &Deployment,
    newest: Option<&ReplicaSet>,
    old: &DeploymentStatus,
    new: &DeploymentStatus,
    conditions: &mut Vec<DeploymentCondition>,
    step: &Step,
    now: Timestamp,
) -> Option<Duration> {
    let spec = deployment.spec.as_ref()?;
    let deadline = spec.progress_deadline_seconds.unwrap_or(600);
    if deadline == NO_DEADLINE {
        condition::remove(conditions, "Progressing");
        return None;
    }
    let paused = spec.paused == Some(true);
    let name = newest.and_then(|set| set.metadata.name.as_deref());
    let subject = match name {
        Some(name) => format!("ReplicaSet {name:?}"),
        None => format!("Deployment {:?}", deployment.metadata.name.as_deref().unwrap_or_default()),
    };
    let known = condition::get(conditions, "Progressing").cloned();
    let reason = known.as_ref().map(|condition| condition.reason().to_owned()).unwrap_or_default();
    if paused {
        condition::set(
            conditions,
            condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused"),
        );
        return None;
    }
    if reason == "DeploymentPaused" {
        condition::set(
            conditions,
            condition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed"),
        );
        return Some(seconds(deadline));
    }
    if let Step::Failed(message) = step {
        condition::set(conditions, condition("Progressing", "False", "ReplicaSetCreateError", message));
        return None;
    }
    if is_complete(deployment, new) {
        let message = format!("{subject} has successfully progressed.");
        condition::set(conditions, condition("Progressing", "True", "NewReplicaSetAvailable", &message));
        return None;
    }
    match step {
        Step::Created(name) => {
            let message = format!("Created new replica set {name:?}");
            renew(conditions, condition("Progressing", "True", "NewReplicaSetCreated", &message));
            return Some(seconds(deadline));
        }
        Step::Found(name) if reason != "FoundNewReplicaSet" => {
            let message = format!("Found new replica set {name:?}");
            renew(conditions, condition("Progressing", "True", "FoundNewReplicaSet", &message));
            return Some(seconds(deadline));
        }
        _ => {}
    }
    if known.is_none() || has_moved(old, new) {
        let message = format!("{subject} is progressing.");
        renew(conditions, condition("Progressing", "True", "ReplicaSetUpdated", &message));
        return Some(seconds(deadline));
    }
    let known = known?;
    if known.reason() == "ProgressDeadlineExceeded"
        || (known.reason() == "NewReplicaSetAvailable" && known.status() == "True")
    {
        // A finished rollout whose pods fail later is not a rollout that takes too long.
        return None;
    }
    let since = known.last_update_time.as_ref().or(known.last_transition_time.as_ref())?.0;
    let elapsed = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
    let left = seconds(deadline).saturating_sub(elapsed);
    if left.is_zero() {
        let message = format!("{subject} has timed out progressing.");
        condition::set(conditions, condition("Progressing", "False", "ProgressDeadlineExceeded", &message));
        return None;
    }
    Some(left)
}

fn seconds(number: i32) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

/// As [`condition::set`], but the update time moves even when nothing else does: progress was made just now.
fn renew(conditions: &mut Vec<DeploymentCondition>, mut new: DeploymentCondition) {
    if let Some(old) = condition::get(conditions, "Progressing").filter(|old| old.status() == new.status()) {
        new.last_transition_time.clone_from(&old.last_transition_time);
    }
    condition::remove(conditions, "Progressing");
    conditions.push(new);
}

/// Whether all pods are of the newest template and available.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = Some(desired(deployment));
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn has_moved(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let outdated =
        |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    new.updated_replicas > old.updated_replicas.or(Some(0))
        || outdated(new) < outdated(old)
        || new.ready_replicas > old.ready_replicas.or(Some(0))
        || new.available_replicas > old.available_replicas.or(Some(0))
}
