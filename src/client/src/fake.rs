//! An API in memory for the tests of controllers: the real kinds with their defaults, validation and patches, but one
//! identity, no admission and no wire.
//!
//! What a server adds over it (authorization, admission, back-pressure) belongs into tests against a real server.

mod write;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use copepod_api::discovery::{self, Aggregated};
use copepod_api::kind::{Kind, Scope};
use copepod_api::registry::Registry;
use copepod_api::selector::FieldSelector;
use copepod_api::status::ApiError;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Makes an answer of its own to a request (method, path, body), or `None` for the usual one.
type Hook = Box<dyn FnMut(&Method, &str, &Value) -> Option<ApiError> + Send>;

struct Watcher {
    prefix: String,
    fields: FieldSelector,
    events: UnboundedSender<Bytes>,
}

struct State {
    registry: Registry,
    revision: u64,
    /// Objects by store key, with their resource versions.
    objects: BTreeMap<String, Value>,
    log: Vec<(u64, String, &'static str, Value)>,
    watchers: Vec<Watcher>,
    /// Method and path of every write that was asked for.
    writes: Vec<String>,
    hook: Option<Hook>,
    /// How long each event is under way.
    lag: Duration,
}

/// The API. Clones are the same one.
#[derive(Clone)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
}

impl Default for FakeApi {
    fn default() -> Self {
        let state = State {
            registry: Registry::builtin(),
            revision: 1,
            objects: BTreeMap::new(),
            log: Vec::new(),
            watchers: Vec::new(),
            writes: Vec::new(),
            hook: None,
            lag: Duration::ZERO,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }
}

/// What a path names.
struct Target {
    kind: Arc<Kind>,
    namespace: Option<String>,
    /// Empty for a collection.
    name: String,
    subresource: String,
}

impl Target {
    fn key(&self) -> String {
        self.kind.key(self.namespace.as_deref(), &self.name)
    }

    /// Prefix of the keys of the collection.
    fn prefix(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}{namespace}/", self.kind.prefix()),
            None => self.kind.prefix(),
        }
    }
}

impl FakeApi {
    /// A client of this API.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        let api = self.clone();
        crate::in_process(tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                Ok::<_, Infallible>(api.answer(&parts, &body))
            }
        }))
    }

    /// Refuses requests for which the hook gives an error.
    pub fn refuse(&self, hook: impl FnMut(&Method, &str, &Value) -> Option<ApiError> + Send + 'static) {
        self.state.lock().hook = Some(Box::new(hook));
    }

    /// Lets every event of the watches to come take this time, so that caches are behind what was written.
    pub fn delay_events(&self, lag: Duration) {
        self.state.lock().lag = lag;
    }

    /// Method and path of the writes since the last call, refused ones too.
    #[must_use]
    pub fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().writes)
    }

    fn answer(&self, request: &http::request::Parts, body: &[u8]) -> Reply {
        let query: BTreeMap<String, String> = request
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.replace("%3D", "=")))
            .collect();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let path = request.uri.path();
        let mut state = self.state.lock();
        if let Some(error) = state.hook.as_mut().and_then(|hook| hook(&request.method, path, &body)) {
            state.note(&request.method, path);
            return refused(&error);
        }
        if let Some(document) = state.discover(path) {
            return whole(&document);
        }
        let Some(target) = state.target(path) else { return refused(&ApiError::no_such_path()) };
        if query.get("watch").is_some_and(|watch| watch == "true") {
            return state.watch(&target, &query);
        }
        state.note(&request.method, path);
        let content_type = request.headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let result = match request.method {
            Method::GET if target.name.is_empty() => Ok(state.list(&target, &query)),
            Method::GET => state.get(&target),
            Method::POST if target.subresource == "binding" => state.bind(&target, &body),
            Method::POST => state.create(&target, body),
            Method::PUT => state.update(&target, body),
            Method::PATCH => state.patch(&target, content_type, &body),
            Method::DELETE if target.name.is_empty() => state.delete_all(&target, &body),
            Method::DELETE => state.delete(&target, &body),
            _ => Err(ApiError::no_such_path()),
        };
        match result {
            Ok(object) => whole(&object),
            Err(error) => refused(&error),
        }
    }
}

impl State {
    fn note(&mut self, method: &Method, path: &str) {
        if *method != Method::GET {
            self.writes.push(format!("{method} {path}"));
        }
    }

    fn discover(&self, path: &str) -> Option<Value> {
        match path {
            "/api" => Some(discovery::aggregated(&self.registry, true, Aggregated::V2)),
            "/apis" => Some(discovery::aggregated(&self.registry, false, Aggregated::V2)),
            _ => None,
        }
    }

    fn target(&self, path: &str) -> Option<Target> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !matches!(rest, [] | ["status" | "finalize"]) => {
                (Some((*namespace).to_owned()), rest)
            }
            rest => (None, rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource] => (*plural, *name, *subresource),
            _ => return None,
        };
        let kind = self.registry.resource(group, version, plural)?.clone();
        if namespace.is_some() && kind.scope == Scope::Cluster {
            return None;
        }
        Some(Target { kind, namespace, name: name.to_owned(), subresource: subresource.to_owned() })
    }

    fn get(&self, target: &Target) -> Result<Value, ApiError> {
        let found = self.objects.get(&target.key()).cloned();
        found.ok_or_else(|| ApiError::not_found(&target.kind, &target.name))
    }

    fn list(&self, target: &Target, query: &BTreeMap<String, String>) -> Value {
        let (prefix, fields) = (target.prefix(), fields(query));
        let items: Vec<&Value> = self
            .objects
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(_, object)| object)
            .filter(|object| selected(&fields, object))
            .collect();
        json!({
            "kind": target.kind.list_kind, "apiVersion": target.kind.gvk.api_version(),
            "metadata": {"resourceVersion": self.revision.to_string()}, "items": items})
    }

    fn watch(&mut self, target: &Target, query: &BTreeMap<String, String>) -> Reply {
        let from = query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
        let (events, receiver) = unbounded();
        let watcher = Watcher { prefix: target.prefix(), fields: fields(query), events };
        for (_, key, kind, object) in self.log.iter().filter(|(revision, ..)| *revision > from) {
            watcher.send(key, kind, object);
        }
        self.watchers.push(watcher);
        let lag = self.lag;
        let frames = receiver.then(move |bytes| async move {
            if !lag.is_zero() {
                tokio::time::sleep(lag).await;
            }
            Ok(Frame::data(bytes))
        });
        Response::new(StreamBody::new(frames).boxed_unsync())
    }

    /// Writes or removes an object under the next revision, and tells the watchers.
    fn commit(&mut self, key: &str, event: &'static str, mut object: Value) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        if event == "DELETED" {
            self.objects.remove(key);
        } else {
            self.objects.insert(key.to_owned(), object.clone());
        }
        self.watchers.retain(|watcher| watcher.send(key, event, &object));
        self.log.push((self.revision, key.to_owned(), event, object.clone()));
        object
    }
}

impl Watcher {
    /// False when nobody listens any more.
    fn send(&self, key: &str, event: &str, object: &Value) -> bool {
        if !key.starts_with(&self.prefix) || !selected(&self.fields, object) {
            return !self.events.is_closed();
        }
        let line = format!("{}\n", json!({"type": event, "object": object}));
        self.events.unbounded_send(line.into()).is_ok()
    }
}

fn fields(query: &BTreeMap<String, String>) -> FieldSelector {
    let text = query.get("fieldSelector").map(String::as_str).unwrap_or_default();
    FieldSelector::parse(text).unwrap_or_default()
}

fn selected(fields: &FieldSelector, object: &Value) -> bool {
    fields.matches(|path| {
        let field = path.split('.').fold(object, |value, part| &value[part]);
        field.as_str().unwrap_or_default().to_owned()
    })
}

fn whole(body: &Value) -> Reply {
    Response::new(Full::from(body.to_string()).boxed_unsync())
}

fn refused(error: &ApiError) -> Reply {
    let mut reply = whole(&json!(error.0));
    *reply.status_mut() = http::StatusCode::from_u16(error.code()).unwrap_or_default();
    reply
}
