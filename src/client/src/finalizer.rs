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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;
    use crate::test_server::TestServer;

    #[tokio::test]
    async fn finalizers_are_added_and_removed_once() {
        let server = TestServer::default();
        server.put("a", "1");
        let api: Api<ConfigMap> = Api::namespaced(server.client(), "ns");
        let object = api.patch("a", &PatchParams::default(), &Patch::Merge(json!({}))).await.unwrap();
        let with = add(&api, &object, "copepod.io/test").await.unwrap().unwrap();
        assert!(has(&with, "copepod.io/test"));
        assert!(add(&api, &with, "copepod.io/test").await.unwrap().is_none());
        let stale = remove(
            &api,
            &ConfigMap {
                metadata: kube::api::ObjectMeta {
                    finalizers: with.metadata.finalizers.clone(),
                    ..object.metadata.clone()
                },
                ..object.clone()
            },
            "copepod.io/test",
        )
        .await;
        assert!(crate::error::is_conflict(&stale.unwrap_err()));
        let without = remove(&api, &with, "copepod.io/test").await.unwrap().unwrap();
        assert!(without.finalizers().is_empty());
        assert!(remove(&api, &without, "copepod.io/test").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn removing_a_finalizer_of_an_object_that_is_gone_is_no_error() {
        let server = TestServer::default();
        let api: Api<ConfigMap> = Api::namespaced(server.client(), "ns");
        let object =
            serde_json::from_value(json!({"metadata": {"name": "gone", "finalizers": ["a/b"]}})).unwrap();
        assert!(remove(&api, &object, "a/b").await.unwrap().is_none());
    }
}
