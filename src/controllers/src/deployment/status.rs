//! What a Deployment says of itself.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetStatus,
};

use super::rollout::Bounds;
use super::template::desired;
use crate::condition::{self, Condition as _};

/// Why the Deployment is where it is, as far as the loop knows and the counts do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A ReplicaSet was made for a new template.
    Created(String),
    /// The newest set could not be made.
    Failed(String),
    /// The newest set gets another name, in the next pass.
    Waiting,
    /// Paused, being scaled or deleted: pods come and go, but that is no rollout to measure.
    Counting,
    /// Nothing of these.
    Going,
}

/// What a status is made from.
pub(super) struct Observed<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) newest: Option<&'a ReplicaSet>,
    /// All sets, the newest first.
    pub(super) all: &'a [Arc<ReplicaSet>],
    pub(super) step: &'a Step,
    pub(super) now: Timestamp,
}

/// `progressDeadlineSeconds` that means "none".
const NO_DEADLINE: i32 = i32::MAX;

/// A count as the API server stores it: zeros are left out, and one that is not would differ on every pass.
fn counted(count: i32) -> Option<i32> {
    Some(count).filter(|count| *count != 0)
}

/// The status, and when the progress deadline will have passed.
pub(super) fn status(observed: &Observed<'_>) -> (DeploymentStatus, Option<Duration>) {
    let Observed { deployment, newest, all, .. } = *observed;
    let sum = |of: fn(&ReplicaSetStatus) -> i32| -> i32 {
        all.iter().filter_map(|set| set.status.as_ref()).map(of).sum()
    };
    let old = deployment.status.clone().unwrap_or_default();
    let available = sum(|status| status.available_replicas.unwrap_or(0));
    let requested: i32 = all.iter().map(|set| super::template::replicas(set)).sum();
    let updated = newest.and_then(|set| set.status.as_ref()).map_or(0, |status| status.replicas);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: counted(sum(|status| status.replicas)),
        updated_replicas: counted(updated),
        ready_replicas: counted(sum(|status| status.ready_replicas.unwrap_or(0))),
        available_replicas: counted(available),
        unavailable_replicas: counted((requested - available).max(0)),
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
    if *observed.step == Step::Waiting {
        // The collision count was written just now: the old status does not know it.
        status.collision_count = Some(old.collision_count.unwrap_or(0) + 1);
    }
    let again = progress(observed, &old, &status, &mut conditions);
    status.conditions = Some(conditions);
    (status, again)
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> DeploymentCondition {
    DeploymentCondition::new(kind, status, reason, message)
}

/// Sets `Progressing`; gives the time until the deadline.
fn progress(
    observed: &Observed<'_>,
    old: &DeploymentStatus,
    new: &DeploymentStatus,
    conditions: &mut Vec<DeploymentCondition>,
) -> Option<Duration> {
    const KIND: &str = "Progressing";
    let Observed { deployment, newest, step, now, .. } = *observed;
    let spec = deployment.spec.as_ref()?;
    let deadline = spec.progress_deadline_seconds.unwrap_or(600);
    if deadline == NO_DEADLINE {
        condition::remove(conditions, KIND);
        return None;
    }
    let known = condition::get(conditions, KIND).cloned();
    let reason = known.as_ref().map(|condition| condition.reason()).unwrap_or_default();
    if spec.paused == Some(true) {
        // That it took too long before stays known.
        if reason != "ProgressDeadlineExceeded" {
            condition::set(
                conditions,
                condition(KIND, "Unknown", "DeploymentPaused", "Deployment is paused"),
            );
        }
        return None;
    }
    if reason == "DeploymentPaused" {
        condition::set(conditions, condition(KIND, "Unknown", "DeploymentResumed", "Deployment is resumed"));
        return Some(seconds(deadline));
    }
    match step {
        Step::Failed(message) => {
            condition::set(conditions, condition(KIND, "False", "ReplicaSetCreateError", message));
            return None;
        }
        Step::Created(name) => {
            let message = format!("Created new replica set {name:?}");
            renew(conditions, condition(KIND, "True", "NewReplicaSetCreated", &message));
            return Some(seconds(deadline));
        }
        Step::Counting | Step::Waiting => return None,
        Step::Going => {}
    }
    let name = newest.and_then(|set| set.metadata.name.as_deref());
    let subject = match name {
        Some(name) => format!("ReplicaSet {name:?}"),
        None => format!("Deployment {:?}", deployment.metadata.name.as_deref().unwrap_or_default()),
    };
    if reason == "NewReplicaSetAvailable" && new.replicas == new.updated_replicas {
        // No rollout: pods that fail or are scaled later are not one that takes too long.
        return None;
    }
    if is_complete(deployment, new) {
        let message = format!("{subject} has successfully progressed.");
        condition::set(conditions, condition(KIND, "True", "NewReplicaSetAvailable", &message));
        return None;
    }
    if has_moved(old, new) {
        let message = format!("{subject} is progressing.");
        renew(conditions, condition(KIND, "True", "ReplicaSetUpdated", &message));
        return Some(seconds(deadline));
    }
    let Some(known) = known else {
        // An adopted set: there is no other base to measure progress from.
        let message = format!("Found new replica set {:?}", name?);
        renew(conditions, condition(KIND, "True", "FoundNewReplicaSet", &message));
        return Some(seconds(deadline));
    };
    if matches!(known.reason(), "ProgressDeadlineExceeded" | "NewReplicaSetAvailable") {
        return None;
    }
    let since = known.last_update_time.as_ref().or(known.last_transition_time.as_ref())?.0;
    let elapsed = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
    let left = seconds(deadline).saturating_sub(elapsed);
    if left.is_zero() {
        let message = format!("{subject} has timed out progressing.");
        condition::set(conditions, condition(KIND, "False", "ProgressDeadlineExceeded", &message));
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
    let wanted = desired(deployment);
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn has_moved(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let outdated =
        |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    let grown =
        |count: fn(&DeploymentStatus) -> Option<i32>| count(new).unwrap_or(0) > count(old).unwrap_or(0);
    grown(|status| status.updated_replicas)
        || outdated(new) < outdated(old)
        || grown(|status| status.ready_replicas)
        || grown(|status| status.available_replicas)
}
