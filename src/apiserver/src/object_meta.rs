//! Metadata of objects on their way to the store: what only the server sets. What is valid is in
//! `copepod_api::metadata`.

use copepod_api::metadata::carry_over;
use copepod_base::clock;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;

/// The present, in whole seconds, as Kubernetes stores it.
pub(crate) fn now() -> Time {
    let seconds = i64::try_from(clock::since_epoch().as_secs()).unwrap_or(i64::MAX);
    Time(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
}

/// A fresh uid.
pub(crate) fn new_uid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Sets what only the server sets on a new object.
pub(crate) fn fill(meta: &mut ObjectMeta, generation: bool) {
    meta.creation_timestamp = Some(now());
    meta.uid = Some(new_uid());
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    meta.self_link = None;
    meta.managed_fields = None;
    meta.resource_version = None;
    meta.generation = generation.then_some(1);
}

/// Takes from the stored object what an update may leave out or may not change.
pub(crate) fn keep(new: &mut ObjectMeta, old: &ObjectMeta) {
    carry_over(new, old);
    new.generation = old.generation;
    new.managed_fields = None;
    new.resource_version = None;
}

/// Whether a set finalizer still holds a deleted object.
pub(crate) fn held(meta: &ObjectMeta) -> bool {
    meta.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty())
}
