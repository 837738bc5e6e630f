//! Owner references.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

/// A reference that makes `owner` the managing controller of another object: `controller` and
/// `blockOwnerDeletion` are set. `None` when the owner has no name or uid, so was never stored.
pub fn controller_ref<K: Resource<DynamicType = ()>>(owner: &K) -> Option<OwnerReference> {
    Some(OwnerReference { block_owner_deletion: Some(true), ..owner.controller_owner_ref(&())? })
}

/// The reference of the object's managing controller.
pub fn controller_of<K: Resource>(object: &K) -> Option<&OwnerReference> {
    object.meta().owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))
}

/// Whether the object with this uid is the managing controller of `object`.
pub fn is_controlled_by<K: Resource>(object: &K, uid: &str) -> bool {
    controller_of(object).is_some_and(|owner| owner.uid == uid)
}

/// Index function: the uid of the managing controller.
pub fn controller_uid<K: Resource>(object: &K) -> Vec<String> {
    controller_of(object).map(|owner| owner.uid.clone()).into_iter().collect()
}

/// Index function: the uids of all owners.
pub fn owner_uids<K: Resource>(object: &K) -> Vec<String> {
    object.meta().owner_references.iter().flatten().map(|owner| owner.uid.clone()).collect()
}
