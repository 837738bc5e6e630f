//! How many replicas each ReplicaSet of a Deployment should have now.
//!
//! The rules are those of `apps/v1` DeploymentStrategy: never more than `replicas + maxSurge` pods, never fewer than
//! `replicas - maxUnavailable` available ones.

use std::cmp::Reverse;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::template::{DESIRED, MAX, desired, number, replicas};

/// A ReplicaSet and the number of replicas it should have.
pub(super) type Step = (Arc<ReplicaSet>, i32);

/// The bounds of a rolling update in pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) surge: i32,
    pub(super) unavailable: i32,
}

impl Bounds {
    /// The bounds of the Deployment; `Recreate` has neither.
    pub(super) fn of(deployment: &Deployment) -> Self {
        if is_recreate(deployment) {
            return Self { surge: 0, unavailable: 0 };
        }
        let rolling = deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.strategy.as_ref())
            .and_then(|strategy| strategy.rolling_update.clone())
            .unwrap_or_default();
        let surge = resolve(rolling.max_surge.as_ref(), desired(deployment), true);
        let unavailable = resolve(rolling.max_unavailable.as_ref(), desired(deployment), false);
        // Both zero, as small percentages round, would never move.
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self { surge, unavailable: unavailable.min(desired(deployment)) }
    }
}

/// `spec.strategy.type` is `Recreate`.
pub(super) fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

fn resolve(value: Option<&IntOrString>, total: i32, round_up: bool) -> i32 {
    let percent = |text: &str| text.strip_suffix('%').and_then(|number| number.parse::<i64>().ok());
    match value {
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            let product = percent(text).unwrap_or(0) * i64::from(total);
            i32::try_from(if round_up { (product + 99) / 100 } else { product / 100 }).unwrap_or(i32::MAX)
        }
        None => 0,
    }
}

/// Most pods that may exist during a rolling update.
pub(super) fn most(deployment: &Deployment) -> i32 {
    desired(deployment) + Bounds::of(deployment).surge
}

fn total(sets: &[Arc<ReplicaSet>]) -> i32 {
    sets.iter().map(|set| replicas(set)).sum()
}

fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// Replicas of the newest set, when it may grow or must shrink. `current` is 0 for one that is to be made.
pub(super) fn of_newest(deployment: &Deployment, current: i32, old: &[Arc<ReplicaSet>]) -> i32 {
    let wanted = desired(deployment);
    if is_recreate(deployment) || current >= wanted {
        return wanted;
    }
    let room = most(deployment) - (current + total(old));
    current + room.clamp(0, wanted - current)
}

/// Whether `spec.replicas` changed since the sets were last scaled: then all of them follow in proportion. Several
/// sets of a `Recreate` have no proportion to keep: the old ones go anyway.
pub(super) fn is_scaling(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> bool {
    let active: Vec<_> = sets.iter().filter(|set| replicas(set) > 0).collect();
    if is_recreate(deployment) && active.len() > 1 {
        return false;
    }
    active
        .into_iter()
        .filter_map(|set| number(&set.metadata, DESIRED))
        .any(|noted| noted != i64::from(desired(deployment)))
}

/// Scales without rolling: after a change of `spec.replicas`, or while paused.
pub(super) fn scaled(
    deployment: &Deployment,
    newest: Option<&Arc<ReplicaSet>>,
    old: &[Arc<ReplicaSet>],
) -> Vec<Step> {
    let active: Vec<_> =
        old.iter().filter(|set| replicas(set) > 0).chain(newest.filter(|set| replicas(set) > 0)).collect();
    let only = match active.as_slice() {
        [] => newest
            .or(old.iter().max_by_key(|set| set.metadata.creation_timestamp.as_ref().map(|time| time.0))),
        [only] => Some(*only),
        _ => None,
    };
    if let Some(only) = only {
        return vec![(only.clone(), desired(deployment))];
    }
    if newest.is_some_and(|set| is_saturated(deployment, set)) {
        return old.iter().filter(|set| replicas(set) > 0).map(|set| (set.clone(), 0)).collect();
    }
    if is_recreate(deployment) {
        return Vec::new();
    }
    in_proportion(deployment, &active.into_iter().cloned().collect::<Vec<_>>())
}

fn is_saturated(deployment: &Deployment, newest: &ReplicaSet) -> bool {
    let wanted = desired(deployment);
    replicas(newest) == wanted
        && number(&newest.metadata, DESIRED) == Some(i64::from(wanted))
        && available(newest) == wanted
}

/// Spreads the pods that are to come or go over the sets by their size; what rounding leaves goes to the largest.
fn in_proportion(deployment: &Deployment, active: &[Arc<ReplicaSet>]) -> Vec<Step> {
    let allowed = if desired(deployment) > 0 { most(deployment) } else { 0 };
    let to_add = allowed - total(active);
    let mut sorted = active.to_vec();
    let age = |set: &Arc<ReplicaSet>| set.metadata.creation_timestamp.as_ref().map(|time| time.0);
    if to_add > 0 {
        sorted.sort_by_key(|set| (Reverse(replicas(set)), Reverse(age(set))));
    } else {
        sorted.sort_by_key(|set| (Reverse(replicas(set)), age(set)));
    }
    let mut left = to_add;
    let mut steps: Vec<Step> = sorted
        .iter()
        .map(|set| {
            let noted =
                number(&set.metadata, MAX).filter(|noted| *noted > 0).unwrap_or(i64::from(allowed).max(1));
            // Nearest whole number of size * new maximum / old maximum.
            let size = i64::from(replicas(set));
            let share = (2 * size * i64::from(allowed) + noted) / (2 * noted) - size;
            let share = i32::try_from(share).unwrap_or(0);
            let change = if to_add > 0 { share.clamp(0, left.max(0)) } else { share.clamp(left.min(0), 0) };
            left -= change;
            (set.clone(), replicas(set) + change)
        })
        .collect();
    if let Some(first) = steps.first_mut() {
        first.1 = (first.1 + left).max(0);
    }
    steps
}

/// The next step of a rolling update, apart from growing the newest set: which old pods may go now.
pub(super) fn shrink_old(deployment: &Deployment, newest: &ReplicaSet, old: &[Arc<ReplicaSet>]) -> Vec<Step> {
    let least = desired(deployment) - Bounds::of(deployment).unavailable;
    let missing_in_newest = replicas(newest) - available(newest);
    let may_go = replicas(newest) + total(old) - least - missing_in_newest;
    if may_go <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<Step> = old.iter().map(|set| (set.clone(), replicas(set))).collect();
    sizes.sort_by_key(|(set, _)| set.metadata.creation_timestamp.as_ref().map(|time| time.0));
    // Old pods that serve nobody go first: they cost no availability.
    let mut unhealthy = may_go;
    for (set, size) in &mut sizes {
        let gone = (*size - available(set)).clamp(0, unhealthy);
        *size -= gone;
        unhealthy -= gone;
    }
    let serving = available(newest) + old.iter().map(|set| available(set)).sum::<i32>();
    let mut healthy = (serving - least).max(0);
    for (_, size) in &mut sizes {
        let gone = (*size).clamp(0, healthy);
        *size -= gone;
        healthy -= gone;
    }
    sizes.into_iter().filter(|(set, size)| replicas(set) != *size).collect()
}

#[cfg(test)]
mod tests;
