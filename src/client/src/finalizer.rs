//! Adding and removing finalizers.
//!
//! The list is written whole, guarded by the resource version of the object it was read from: two writers then
//! meet in a conflict instead of undoing each other.

use std::fmt::Debug;

use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

/// Whether the object carries this finalizer.
pub fn has<K: Resource>(object: &K, finalizer: &str) -> bool {
    object.finalizers().iter().any(|f| f == finalizer)
}

/// Adds a finalizer; gives the new object, or `None` when it was there already.
///
/// # Errors
/// A conflict when `object` is not the newest version; other API errors.
pub async fn add<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<Option<K>, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    if has(object, finalizer) {
        return Ok(None);
    }
    let mut all = object.finalizers().to_vec();
    all.push(finalizer.to_owned());
    write(api, object, &all).await.map(Some)
}

/// Removes a finalizer; gives the new object, or `None` when it was not there or the object is gone.
///
/// # Errors
/// A conflict when `object` is not the newest version; other API errors.
pub async fn remove<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<Option<K>, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    if !has(object, finalizer) {
        return Ok(None);
    }
    let left: Vec<String> = object.finalizers().iter().filter(|f| *f != finalizer).cloned().collect();
    match write(api, object, &left).await {
        Err(error) if crate::error::is_not_found(&error) => Ok(None),
        other => other.map(Some),
    }
}

async fn write<K>(api: &Api<K>, object: &K, finalizers: &[String]) -> Result<K, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let patch = json!({"metadata": {
        "uid": object.meta().uid,
        "resourceVersion": object.meta().resource_version,
        "finalizers": finalizers,
    }});
    api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await
}
