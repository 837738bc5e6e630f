//! Deployments, replica sets, stateful sets and daemon sets.

use k8s_openapi::api::apps::v1::{
    DaemonSet, Deployment, ReplicaSet, RollingUpdateStatefulSetStrategy, StatefulSet,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{absent, core, each, pod, text};

/// Old templates that are kept.
const REVISIONS: i32 = 10;

/// A deployment.
pub(crate) fn deployment(object: &mut Deployment) {
    let spec = object.spec.get_or_insert_default();
    absent(&mut spec.replicas, 1);
    absent(&mut spec.revision_history_limit, REVISIONS);
    absent(&mut spec.progress_deadline_seconds, 600);
    let strategy = spec.strategy.get_or_insert_default();
    text(&mut strategy.type_, "RollingUpdate");
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let rolling = strategy.rolling_update.get_or_insert_default();
        absent(&mut rolling.max_unavailable, IntOrString::String("25%".to_owned()));
        absent(&mut rolling.max_surge, IntOrString::String("25%".to_owned()));
    }
    pod::template(&mut spec.template);
}

/// A replica set.
pub(crate) fn replica_set(object: &mut ReplicaSet) {
    let spec = object.spec.get_or_insert_default();
    absent(&mut spec.replicas, 1);
    spec.template.iter_mut().for_each(pod::template);
}

/// A stateful set.
pub(crate) fn stateful_set(object: &mut StatefulSet) {
    let spec = object.spec.get_or_insert_default();
    absent(&mut spec.replicas, 1);
    absent(&mut spec.revision_history_limit, REVISIONS);
    text(&mut spec.pod_management_policy, "OrderedReady");
    let strategy = spec.update_strategy.get_or_insert_default();
    text(&mut strategy.type_, "RollingUpdate");
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let rolling = strategy.rolling_update.get_or_insert_with(RollingUpdateStatefulSetStrategy::default);
        absent(&mut rolling.partition, 0);
    }
    let retention = spec
        .persistent_volume_claim_retention_policy
        .get_or_insert_with(StatefulSetPersistentVolumeClaimRetentionPolicy::default);
    text(&mut retention.when_deleted, "Retain");
    text(&mut retention.when_scaled, "Retain");
    each(&mut spec.volume_claim_templates).for_each(core::claim);
    pod::template(&mut spec.template);
}

/// A daemon set.
pub(crate) fn daemon_set(object: &mut DaemonSet) {
    let spec = object.spec.get_or_insert_default();
    absent(&mut spec.revision_history_limit, REVISIONS);
    let strategy = spec.update_strategy.get_or_insert_default();
    text(&mut strategy.type_, "RollingUpdate");
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let rolling = strategy.rolling_update.get_or_insert_default();
        absent(&mut rolling.max_unavailable, IntOrString::Int(1));
        absent(&mut rolling.max_surge, IntOrString::Int(0));
    }
    pod::template(&mut spec.template);
}
