//! A tiny API server for tests: list, watch, create and merge patch of any core/v1 kind, and the faults that a
//! client must survive.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;
type Id = (String, String, String);

/// How often something was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) lists: usize,
    pub(crate) watches: usize,
    pub(crate) creates: usize,
    pub(crate) patches: usize,
}

#[derive(Default)]
struct State {
    version: u64,
    compacted: u64,
    /// Refuse an expired watch by HTTP status instead of an event.
    refuse_by_status: bool,
    /// So many lists fail first.
    failures: usize,
    /// The next page after a first one is refused as expired.
    expire_page: bool,
    objects: BTreeMap<Id, Value>,
    log: Vec<(u64, String, Value)>,
    watchers: Vec<(String, UnboundedSender<Bytes>)>,
    next_uid: u64,
}

#[derive(Clone, Default)]
pub(crate) struct TestServer {
    state: Arc<Mutex<State>>,
    counts: Arc<watch::Sender<Counts>>,
}

impl TestServer {
    pub(crate) fn client(&self) -> kube::Client {
        let server = self.clone();
        crate::in_process(tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(server.answer(&parts, &body))
            }
        }))
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counts are as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Counts) -> bool) {
        self.counts.subscribe().wait_for(|counts| wanted(counts)).await.unwrap();
    }

    pub(crate) fn version(&self) -> u64 {
        self.state.lock().version
    }

    /// Creates or replaces a ConfigMap in namespace `ns`; gives its resource version.
    pub(crate) fn put(&self, name: &str, value: &str) -> String {
        let object = json!({"metadata": {"name": name, "namespace": "ns"}, "data": {"value": value}});
        self.state.lock().put(&id("configmaps", "ns", name), object)
    }

    pub(crate) fn delete(&self, name: &str) {
        self.state.lock().delete(&id("configmaps", "ns", name));
    }

    pub(crate) fn objects(&self, plural: &str) -> Vec<Value> {
        let state = self.state.lock();
        state.objects.iter().filter(|(id, _)| id.0 == plural).map(|(_, object)| object.clone()).collect()
    }

    pub(crate) fn remove_all(&self, plural: &str) {
        self.state.lock().objects.retain(|id, _| id.0 != plural);
    }

    /// Ends all watches, as a broken connection does.
    pub(crate) fn disconnect(&self) {
        self.state.lock().watchers.clear();
    }

    /// Ends all watches and forgets the past: versions before now are answered with 410.
    pub(crate) fn compact(&self, refuse_by_status: bool) {
        let mut state = self.state.lock();
        state.version += 1;
        state.compacted = state.version;
        state.refuse_by_status = refuse_by_status;
        state.log.clear();
        state.watchers.clear();
    }

    /// The next lists are answered with 500.
    pub(crate) fn fail_lists(&self, count: usize) {
        self.state.lock().failures = count;
    }

    /// The next continue token is answered with 410.
    pub(crate) fn expire_page(&self) {
        self.state.lock().expire_page = true;
    }

    pub(crate) fn send_raw(&self, event: &Value) {
        let state = self.state.lock();
        for (_, watcher) in &state.watchers {
            watcher.unbounded_send(format!("{event}\n").into()).unwrap();
        }
    }

    fn answer(&self, request: &http::request::Parts, body: &[u8]) -> Reply {
        let query: BTreeMap<_, _> = request
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let parts: Vec<_> = request.uri.path().trim_start_matches("/api/v1/").split('/').collect();
        let (namespace, plural, name) = match parts[..] {
            ["namespaces", namespace, plural] => (namespace, plural, ""),
            ["namespaces", namespace, plural, name] | ["namespaces", namespace, plural, name, "status"] => {
                (namespace, plural, name)
            }
            [plural] => ("", plural, ""),
            _ => return failure(404, "NotFound"),
        };
        let mut state = self.state.lock();
        let bump = |change: fn(&mut Counts)| self.counts.send_modify(change);
        if request.method == Method::POST {
            let object: Value = serde_json::from_slice(body).unwrap();
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            let id = id(plural, namespace, &name);
            if state.objects.contains_key(&id) {
                return failure(409, "AlreadyExists");
            }
            state.put(&id, object);
            bump(|counts| counts.creates += 1);
            whole(200, &state.objects[&id])
        } else if request.method == Method::PATCH {
            let id = id(plural, namespace, name);
            let Some(mut object) = state.objects.get(&id).cloned() else {
                return failure(404, "NotFound");
            };
            let patch: Value = serde_json::from_slice(body).unwrap();
            let guards = |field: &str| match &patch["metadata"][field] {
                Value::Null => false,
                wanted => *wanted != object["metadata"][field],
            };
            if guards("uid") || guards("resourceVersion") {
                return failure(409, "Conflict");
            }
            merge(&mut object, &patch);
            state.put(&id, object);
            bump(|counts| counts.patches += 1);
            whole(200, &state.objects[&id])
        } else if query.get("watch") == Some(&"true") {
            bump(|counts| counts.watches += 1);
            state.watch(plural, query["resourceVersion"].parse().unwrap())
        } else {
            bump(|counts| counts.lists += 1);
            if state.failures > 0 {
                state.failures -= 1;
                return failure(500, "InternalError");
            }
            if query.contains_key("continue") && std::mem::take(&mut state.expire_page) {
                return failure(410, "Expired");
            }
            state.list(plural, &query)
        }
    }
}

impl State {
    fn put(&mut self, id: &Id, mut object: Value) -> String {
        self.version += 1;
        let kind = if self.objects.contains_key(id) { "MODIFIED" } else { "ADDED" };
        let uid = match self.objects.get(id) {
            Some(old) => old["metadata"]["uid"].clone(),
            None => {
                self.next_uid += 1;
                json!(format!("uid-{}", self.next_uid))
            }
        };
        object["metadata"]["uid"] = uid;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        object["metadata"]["managedFields"] = json!([{"manager": "test"}]);
        self.objects.insert(id.clone(), object.clone());
        self.publish(kind, id, object);
        self.version.to_string()
    }

    fn delete(&mut self, id: &Id) {
        let mut object = self.objects.remove(id).unwrap();
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.publish("DELETED", id, object);
    }

    fn publish(&mut self, kind: &str, id: &Id, object: Value) {
        let event = json!({"type": kind, "object": object});
        self.watchers.retain(|(plural, watcher)| {
            *plural != id.0 || watcher.unbounded_send(format!("{event}\n").into()).is_ok()
        });
        self.log.push((self.version, id.0.clone(), event));
    }

    fn list(&self, plural: &str, query: &BTreeMap<&str, &str>) -> Reply {
        let all: Vec<_> = self.objects.iter().filter(|(id, _)| id.0 == plural).map(|(_, o)| o).collect();
        let start = query.get("continue").map_or(0, |token| token.parse::<usize>().unwrap());
        let limit = query.get("limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
        let end = start.saturating_add(limit).min(all.len());
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if end < all.len() {
            metadata["continue"] = json!(end.to_string());
        }
        whole(200, &json!({"kind": "List", "metadata": metadata, "items": all[start..end]}))
    }

    fn watch(&mut self, plural: &str, from: u64) -> Reply {
        if from < self.compacted {
            if self.refuse_by_status {
                return failure(410, "Expired");
            }
            let event = json!({"type": "ERROR", "object": status(410, "Expired")});
            return Response::new(Full::from(format!("{event}\n")).boxed_unsync());
        }
        let (sender, receiver) = unbounded();
        for (version, kind, event) in &self.log {
            if *version > from && kind == plural {
                sender.unbounded_send(format!("{event}\n").into()).unwrap();
            }
        }
        self.watchers.push((plural.to_owned(), sender));
        Response::new(StreamBody::new(receiver.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync())
    }
}

fn id(plural: &str, namespace: &str, name: &str) -> Id {
    (plural.to_owned(), namespace.to_owned(), name.to_owned())
}

fn whole(code: u16, body: &Value) -> Reply {
    Response::builder().status(code).body(Full::from(body.to_string()).boxed_unsync()).unwrap()
}

fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": reason})
}

fn failure(code: u16, reason: &str) -> Reply {
    whole(code, &status(code, reason))
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}
