//! Questions about pods that several controllers ask.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};

/// Name of the pods' index by the uid of their managing controller.
pub(crate) const BY_CONTROLLER: &str = "controller-uid";
/// Name of the pods' index by namespace, of those without a managing controller.
pub(crate) const ORPHANS: &str = "orphans";

/// Name of the pods' index by node.
pub(crate) const BY_NODE: &str = "node";

/// Index function for [`BY_NODE`].
pub(crate) fn node_key(pod: &Pod) -> Vec<String> {
    node_of(pod).map(ToOwned::to_owned).into_iter().collect()
}

/// The node that the pod is bound to.
pub(crate) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// A pod that still counts: not finished, not being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Phase `Succeeded` or `Failed`.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// `status.phase`, empty when unset.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// The condition `Ready`, when it is `True`.
pub(crate) fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Condition `Ready` is `True`.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some()
}

/// Time until the pod has been ready for `min_ready_seconds`: zero when it is available already, `None` when it is
/// not ready.
pub(crate) fn available_in(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    let since = ready_condition(pod)?.last_transition_time.as_ref();
    if min_ready_seconds <= 0 {
        return Some(Duration::ZERO);
    }
    let wanted = Duration::from_secs(u64::try_from(min_ready_seconds).unwrap_or(0));
    let elapsed = Duration::try_from(now.duration_since(since?.0)).unwrap_or(Duration::ZERO);
    Some(wanted.saturating_sub(elapsed))
}

/// Restarts of the container that was restarted most.
pub(crate) fn most_restarts(pod: &Pod) -> i32 {
    pod.status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref())
        .and_then(|statuses| statuses.iter().map(|status| status.restart_count).max())
        .unwrap_or(0)
}
