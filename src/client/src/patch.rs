//! Small patches instead of whole objects.

use std::fmt::Debug;

use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Writes the difference between the `status` of `old` and `new` to the status subresource as a merge patch.
///
/// Nothing is sent when they are equal (`None`): a status written again without a change would wake every
/// watcher. The uid is sent along, so that an object deleted and made again under the same name is not touched
/// (the API answers with a conflict). The resource version is not: other writers own other fields.
///
/// # Errors
/// API errors, and an object that is not JSON.
pub async fn patch_status<K>(api: &Api<K>, old: &K, new: &K) -> Result<Option<K>, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize,
{
    let field = |object: &K| -> Result<Value, kube::Error> {
        let mut value = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
        Ok(value.get_mut("status").map_or(Value::Null, Value::take))
    };
    let Some(status) = merge_diff(&field(old)?, &field(new)?) else { return Ok(None) };
    let patch = json!({"metadata": {"uid": old.meta().uid}, "status": status});
    api.patch_status(&old.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await.map(Some)
}

/// Writes `{"status": status}` to the status subresource as a merge patch. Lists are replaced whole; fields that
/// `status` does not name stay.
///
/// # Errors
/// API errors.
pub async fn merge_status<K, S>(api: &Api<K>, name: &str, status: &S) -> Result<K, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
    S: Serialize + Debug,
{
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await
}

/// Writes `{"status": status}` to the status subresource as a strategic merge patch: lists with a merge key, such
/// as conditions by `type`, are merged, so that writers of different conditions do not undo each other.
///
/// # Errors
/// API errors.
pub async fn strategic_status<K, S>(api: &Api<K>, name: &str, status: &S) -> Result<K, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
    S: Serialize + Debug,
{
    api.patch_status(name, &PatchParams::default(), &Patch::Strategic(json!({"status": status}))).await
}

/// The JSON merge patch (RFC 7386) that turns `old` into `new`; `None` when they are equal.
#[must_use]
pub fn merge_diff(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return Some(new.clone()) };
    let mut patch = Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        let change = match old.get(key) {
            Some(before) => merge_diff(before, value),
            None => Some(value.clone()),
        };
        if let Some(change) = change {
            patch.insert(key.clone(), change);
        }
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Pod, PodStatus};

    use super::*;
    use crate::test_server::TestServer;

    #[test]
    fn a_diff_names_changed_new_and_removed_fields_only() {
        let old = json!({"same": 1, "gone": 2, "in": {"a": 1, "b": 2}, "list": [1, 2]});
        let new = json!({"same": 1, "new": 3, "in": {"a": 1, "b": 4}, "list": [2]});
        assert_eq!(
            merge_diff(&old, &new).unwrap(),
            json!({"gone": null, "new": 3, "in": {"b": 4}, "list": [2]})
        );
        assert_eq!(merge_diff(&old, &old), None);
    }

    async fn pod(server: &TestServer) -> (Api<Pod>, Pod) {
        let api = Api::namespaced(server.client(), "ns");
        let mut pod: Pod = serde_json::from_value(json!({"metadata": {"name": "web"}})).unwrap();
        pod.status = Some(PodStatus { message: Some("starting".into()), ..PodStatus::default() });
        let pod = api.create(&kube::api::PostParams::default(), &pod).await.unwrap();
        (api, pod)
    }

    #[tokio::test]
    async fn a_status_is_written_only_when_it_differs_and_removed_fields_go() {
        let server = TestServer::default();
        let (api, old) = pod(&server).await;
        assert!(patch_status(&api, &old, &old).await.unwrap().is_none());
        assert_eq!(server.counts().patches, 0);
        let mut new = old.clone();
        new.status = Some(PodStatus { phase: Some("Running".into()), ..PodStatus::default() });
        let written = patch_status(&api, &old, &new).await.unwrap().unwrap();
        assert_eq!(written.status, new.status);
    }

    #[tokio::test]
    async fn the_status_of_an_object_made_again_is_not_touched() {
        let server = TestServer::default();
        let (api, mut old) = pod(&server).await;
        old.metadata.uid = Some("of-the-one-before".into());
        let new = Pod { status: None, ..old.clone() };
        assert!(crate::error::is_conflict(&patch_status(&api, &old, &new).await.unwrap_err()));
    }
}
