//! Sends pod statuses to the API, and the final deletion of pods that were asked to go.
//!
//! Only what has changed is sent. A worker hands over a status and goes on; the newest one wins. While the API is away
//! it is tried again with growing delays.

use std::collections::HashMap;
use std::sync::Arc;

use copepod_base::Shutdown;
use copepod_base::backoff::{Backoff, Policy};
use copepod_client::Client;
use copepod_client::error::{is_conflict, is_not_found};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::spec::{name, namespace, uid};

/// Handle; clones are the same manager.
#[derive(Clone)]
pub struct StatusManager(Arc<Inner>);

struct Inner {
    client: Client,
    shutdown: Shutdown,
    entries: Mutex<HashMap<String, Entry>>,
}

struct Entry {
    namespace: String,
    name: String,
    wanted: PodStatus,
    /// What the API has, as far as known.
    sent: Value,
    /// Delete the pod after its status is sent.
    delete: bool,
    sending: bool,
}

enum Outcome {
    /// Everything is sent.
    Idle,
    /// Sent, and something new has come meanwhile.
    Again,
    /// The pod is no more.
    Gone,
}

impl StatusManager {
    /// A manager whose sending ends with `shutdown`.
    #[must_use]
    pub fn new(client: Client, shutdown: &Shutdown) -> Self {
        Self(Arc::new(Inner { client, shutdown: shutdown.clone(), entries: Mutex::default() }))
    }

    /// Hands over the pod's status; with `delete` the pod is deleted from the API afterwards.
    pub fn set(&self, pod: &Pod, status: &PodStatus, delete: bool) {
        let id = uid(pod).to_owned();
        let mut entries = self.0.entries.lock();
        let entry = entries.entry(id.clone()).or_insert_with(|| Entry {
            namespace: namespace(pod).to_owned(),
            name: name(pod).to_owned(),
            wanted: PodStatus::default(),
            sent: pod.status.as_ref().and_then(|s| serde_json::to_value(s).ok()).unwrap_or_default(),
            delete: false,
            sending: false,
        });
        entry.wanted = status.clone();
        entry.delete |= delete;
        if !entry.sending {
            entry.sending = true;
            let manager = self.clone();
            self.0.shutdown.spawn_until_cancelled("pod-status", async move { manager.send(&id).await });
        }
    }

    /// Forgets a pod that is gone.
    pub fn forget(&self, pod_uid: &str) {
        self.0.entries.lock().remove(pod_uid);
    }

    async fn send(&self, id: &str) {
        let mut backoff = Backoff::new(Policy::REQUEST);
        loop {
            match self.send_once(id).await {
                Ok(Outcome::Idle) => return,
                Ok(Outcome::Again) => backoff.reset(),
                Ok(Outcome::Gone) => return self.forget(id),
                Err(error) => {
                    let delay = backoff.next_delay();
                    tracing::debug!(pod = id, ?delay, error = %copepod_base::Chain(&error), "status not sent");
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }

    async fn send_once(&self, id: &str) -> Result<Outcome, kube::Error> {
        let (api, pod, wanted, patch, delete) = {
            let entries = self.0.entries.lock();
            let Some(entry) = entries.get(id) else { return Ok(Outcome::Gone) };
            let api: Api<Pod> = Api::namespaced(self.0.client.clone(), &entry.namespace);
            let wanted = serde_json::to_value(&entry.wanted).unwrap_or_default();
            let patch = diff(&entry.sent, &wanted);
            (api, entry.name.clone(), wanted, patch, entry.delete)
        };
        if let Some(patch) = patch {
            let body = json!({"metadata": {"uid": id}, "status": patch});
            match api.patch_status(&pod, &PatchParams::default(), &Patch::Strategic(&body)).await {
                Ok(_) => {}
                // Another pod has the name: a different uid is a conflict that never resolves.
                Err(error) if is_not_found(&error) => return Ok(Outcome::Gone),
                Err(error) if is_conflict(&error) => {
                    let current = api.get_opt(&pod).await?;
                    let same = current.filter(|p| p.metadata.uid.as_deref() == Some(id));
                    let Some(current) = same else { return Ok(Outcome::Gone) };
                    self.note_sent(id, serde_json::to_value(&current.status).unwrap_or_default());
                    return Err(error);
                }
                Err(error) if copepod_client::error::is_invalid(&error) => {
                    // Sending the same again cannot help; the next change may.
                    tracing::error!(pod, error = %copepod_base::Chain(&error), "the API refuses a pod's status");
                }
                Err(error) => return Err(error),
            }
            self.note_sent(id, wanted.clone());
        }
        if delete {
            let params = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(Preconditions { uid: Some(id.to_owned()), resource_version: None }),
                ..DeleteParams::default()
            };
            match api.delete(&pod, &params).await {
                Ok(_) => {}
                Err(error) if is_not_found(&error) || is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let mut entries = self.0.entries.lock();
        let Some(entry) = entries.get_mut(id) else { return Ok(Outcome::Gone) };
        let unchanged =
            serde_json::to_value(&entry.wanted).unwrap_or_default() == wanted && entry.delete == delete;
        if unchanged {
            entry.sending = false;
            return Ok(Outcome::Idle);
        }
        Ok(Outcome::Again)
    }

    fn note_sent(&self, id: &str, sent: Value) {
        if let Some(entry) = self.0.entries.lock().get_mut(id) {
            entry.sent = sent;
        }
    }
}

/// The strategic merge patch from one status to another; `None` when they are equal.
///
/// Conditions are merged by type, so that those of others stay; addresses are replaced as a whole, since merging them by
/// key would keep old ones.
fn diff(old: &Value, new: &Value) -> Option<Map<String, Value>> {
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let mut patch = Map::new();
    for (key, value) in new {
        let before = old.get(key);
        if before == Some(value) {
            continue;
        }
        let value = match key.as_str() {
            "conditions" => {
                let known = before.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let changed: Vec<Value> = value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|c| !known.contains(c))
                    .map(|c| full_condition(c, known))
                    .collect();
                if changed.is_empty() {
                    continue;
                }
                Value::Array(changed)
            }
            "podIPs" | "hostIPs" if before.and_then(Value::as_array).is_some_and(|b| !b.is_empty()) => {
                let mut items = vec![json!({"$patch": "replace"})];
                items.extend(value.as_array().into_iter().flatten().cloned());
                Value::Array(items)
            }
            _ => value.clone(),
        };
        patch.insert(key.clone(), value);
    }
    for key in old.keys().filter(|k| !new.contains_key(*k)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(patch)
}

/// A condition with nulls for what the old one had and this one has not: merging would keep it.
fn full_condition(condition: &Value, known: &[Value]) -> Value {
    let mut condition = condition.clone();
    let old = known.iter().find(|c| c["type"] == condition["type"]).and_then(Value::as_object);
    if let (Some(old), Some(new)) = (old, condition.as_object_mut()) {
        for key in old.keys() {
            new.entry(key.clone()).or_insert(Value::Null);
        }
    }
    condition
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_statuses_need_no_patch() {
        let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(diff(&status, &status), None);
    }

    #[test]
    fn only_changes_are_sent_and_what_went_is_nulled() {
        let old = json!({"phase": "Pending", "reason": "x", "podIPs": [{"ip": "1"}], "hostIP": "h",
            "conditions": [{"type": "A", "status": "True"}, {"type": "Ready", "status": "False", "reason": "r"}]});
        let new = json!({"phase": "Running", "podIPs": [{"ip": "2"}], "hostIP": "h",
            "conditions": [{"type": "A", "status": "True"}, {"type": "Ready", "status": "True"}]});
        let patch = Value::Object(diff(&old, &new).unwrap());
        assert_eq!(
            patch,
            json!({"phase": "Running", "reason": null, "podIPs": [{"$patch": "replace"}, {"ip": "2"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": null}]})
        );
    }
}
