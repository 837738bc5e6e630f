//! A worker against the fake runtime and a small API that notes what it is told.

use std::collections::HashMap;
use std::convert::Infallible;

use bytes::Bytes;
use copepod_base::Shutdown;
use copepod_client::Informers;
use copepod_client::events::Recorder;
use copepod_cri::fake::Fake;
use copepod_net::cgroup::{Cgroups, Driver, Group};
use http_body_util::{BodyExt, Full};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::*;
use crate::pods::hook::Pipeline;
use crate::pods::registry::Registry;
use crate::pods::status_manager::StatusManager;
use crate::spec::NodeFacts;
use crate::spec::dns::NodeDns;
use crate::spec::resources::NodeResources;

/// What the worker has told the API.
#[derive(Clone, Default)]
struct Api {
    /// The status, merged as far as tests look at it.
    status: Arc<Mutex<Value>>,
    /// Every status there was, and how many of them a test has looked at.
    history: Arc<Mutex<(Vec<Value>, usize)>>,
    deleted: Arc<tokio::sync::Notify>,
    objects: Arc<Mutex<HashMap<String, Value>>>,
    changed: Arc<tokio::sync::Notify>,
}

impl Api {
    fn client(&self) -> kube::Client {
        let api = self.clone();
        copepod_client::in_process(tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        }))
    }

    async fn answer(&self, request: http::Request<kube::client::Body>) -> http::Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = parts.uri.path();
        let (code, value) = match (parts.method.as_str(), path) {
            ("PATCH", path) if path.ends_with("/status") => {
                let patch: Value = serde_json::from_slice(&body).unwrap();
                let mut status = self.status.lock();
                json_patch_merge(&mut status, &patch["status"]);
                self.history.lock().0.push(status.clone());
                drop(status);
                self.changed.notify_waiters();
                (200, json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}}))
            }
            ("DELETE", _) => {
                self.deleted.notify_one();
                (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
            }
            ("POST", _) => (201, serde_json::from_slice(&body).unwrap()),
            ("GET", "/api/v1/services") if parts.uri.query().unwrap_or_default().contains("watch") => {
                std::future::pending::<()>().await;
                unreachable!()
            }
            ("GET", "/api/v1/services") => (
                200,
                json!({"kind": "ServiceList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}),
            ),
            (_, path) => match self.objects.lock().get(path) {
                Some(object) => (200, object.clone()),
                None => (
                    404,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "no"}),
                ),
            },
        };
        http::Response::builder().status(code).body(Full::new(value.to_string().into())).unwrap()
    }

    /// Waits for a status, also one that has passed since the last look.
    async fn until(&self, what: &str, check: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                {
                    let mut history = self.history.lock();
                    let (statuses, seen) = &mut *history;
                    if let Some(at) = (*seen..statuses.len()).find(|at| check(&statuses[*at])) {
                        *seen = at;
                        return statuses[at].clone();
                    }
                    *seen = statuses.len().saturating_sub(1);
                }
                changed.await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(3600), wait).await {
            Ok(status) => status,
            Err(_) => panic!("{what}: {:#}", self.status.lock()),
        }
    }
}

/// Enough of a merge: top-level keys are replaced.
fn json_patch_merge(old: &mut Value, patch: &Value) {
    if !old.is_object() {
        *old = json!({});
    }
    for (key, value) in patch.as_object().unwrap() {
        if key != "conditions" {
            old[key] = value.clone();
        }
    }
}

struct World {
    fake: Fake,
    api: Api,
    shared: Arc<Shared>,
    desired: watch::Sender<Desired>,
    shutdown: Shutdown,
    _folder: Arc<tempfile::TempDir>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let group = self.shared.facts.cgroup_root.clone();
        let _ = self.shared.facts.cgroups.delete(&group);
    }
}

fn pod(spec: Value) -> Pod {
    let mut spec = spec;
    spec["nodeName"] = json!("n1");
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u1"}, "spec": spec}))
        .unwrap()
}

impl World {
    fn new(pod: Pod) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (fake, api, shutdown) = (Fake::new(), Api::default(), Shutdown::new());
        let client = api.client();
        let (runtime, images) = fake.services();
        let (network, network_ready) = watch::channel(true);
        // Kept open for the life of the test.
        Box::leak(Box::new(network));
        let facts = NodeFacts {
            name: "n1".into(),
            runtime_name: "containerd".into(),
            host_ips: vec!["192.0.2.1".into()],
            resources: NodeResources::default(),
            dns: NodeDns::default(),
            cgroups: Cgroups::detect(Driver::Cgroupfs).unwrap(),
            cgroup_root: Group::new([format!("copepod-test-{:x}", fastrand::u64(..))]),
            pods_dir: folder.path().join("pods"),
            logs_dir: folder.path().join("logs"),
            seccomp_dir: folder.path().join("seccomp"),
        };
        let shared = Arc::new(Shared {
            client: client.clone(),
            runtime,
            images,
            facts,
            recorder: Recorder::new(client.clone(), "kubelet", "n1"),
            services: Informers::new(client.clone(), &shutdown).get::<Service>(),
            statuses: StatusManager::new(client, &shutdown),
            registry: Registry::default(),
            pipeline: Pipeline::new(),
            images_changed: Arc::default(),
            network_ready,
        });
        let desired = watch::Sender::new(Desired { pod: Arc::new(pod), gone: false, rejected: None });
        let world = Self { fake, api, shared, desired, shutdown, _folder: Arc::new(folder) };
        world.fake.add_image("img:1");
        world
    }

    /// Starts the worker as the manager does.
    fn start(&self) -> tokio::task::JoinHandle<Option<()>> {
        let (events, inbox) = mpsc::unbounded_channel();
        let worker = Worker::new(self.shared.clone(), self.desired.subscribe(), inbox, false);
        let mut source = self.fake.events();
        self.shutdown.spawn_until_cancelled("events", async move {
            while let Some(event) = source.recv().await {
                if event.kind != EventKind::Lost && events.send(event).is_err() {
                    return;
                }
            }
        });
        self.shutdown.spawn_until_cancelled("pod", worker.run())
    }

    fn change(&self, change: impl FnOnce(&mut Pod)) {
        self.desired.send_modify(|desired| change(Arc::make_mut(&mut desired.pod)));
    }

    fn delete(&self, grace: i64) {
        self.change(|pod| {
            pod.metadata.deletion_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
            pod.metadata.deletion_grace_period_seconds = Some(grace);
        });
    }

    async fn phase(&self, phase: &str) -> Value {
        self.api.until(phase, |s| s["phase"] == phase).await
    }

    fn id(&self, container: &str) -> String {
        self.fake.container_named(container).unwrap().0
    }
}

fn simple() -> Value {
    json!({"containers": [{"name": "a", "image": "img:1", "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}]})
}

#[tokio::test]
async fn a_pod_runs_and_a_deletion_ends_it_and_removes_it_from_the_api() {
    let world = World::new(pod(simple()));
    let task = world.start();
    let status = world.phase("Running").await;
    assert_eq!(status["containerStatuses"][0]["ready"], true);
    let (_, container) = world.fake.container_named("a").unwrap();
    let ip = container.config.envs.iter().find(|e| e.key == "IP").unwrap().value.clone();
    assert_eq!(status["podIP"], json!(ip));
    assert!(container.config.mounts.iter().any(|m| m.container_path == "/etc/hosts"));
    world.delete(30);
    world.api.deleted.notified().await;
    assert_eq!(world.api.status.lock()["phase"], "Failed");
    world.desired.send_modify(|d| d.gone = true);
    task.await.unwrap();
    assert!(world.fake.sandbox_ids().is_empty());
    assert!(world.shared.registry.list().is_empty());
    assert!(!world.shared.facts.pod_dir("u1").exists());
}

#[tokio::test(start_paused = true)]
async fn a_crashing_container_is_restarted_at_once_then_after_ten_seconds() {
    let world = World::new(pod(simple()));
    world.start();
    world.phase("Running").await;
    world.fake.exit(&world.id("a"), 1);
    world
        .api
        .until("restarted", |s| {
            s["containerStatuses"][0]["restartCount"] == 1
                && s["containerStatuses"][0]["state"]["running"].is_object()
        })
        .await;
    world.fake.exit(&world.id("a"), 1);
    let status = world
        .api
        .until("waits", |s| s["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff")
        .await;
    let message = status["containerStatuses"][0]["state"]["waiting"]["message"].as_str().unwrap();
    assert_eq!(message, "back-off 10s restarting failed container=a pod=p_n(u1)");
    assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(status["phase"], "Running");
}

#[tokio::test]
async fn a_pod_that_never_restarts_succeeds_and_its_sandbox_is_stopped() {
    let mut spec = simple();
    spec["restartPolicy"] = json!("Never");
    let world = World::new(pod(spec));
    world.start();
    world.phase("Running").await;
    world.fake.exit(&world.id("a"), 0);
    let status = world.phase("Succeeded").await;
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    world.fake.wait_calls("stop_pod_sandbox", 1).await;
}

#[tokio::test]
async fn init_containers_run_in_order_before_the_main_container() {
    let mut spec = simple();
    spec["initContainers"] = json!([{"name": "i", "image": "img:1", "imagePullPolicy": "IfNotPresent"}]);
    let world = World::new(pod(spec));
    world.start();
    world.fake.wait_calls("start_container", 1).await;
    world.api.until("init runs", |s| s["initContainerStatuses"][0]["state"]["running"].is_object()).await;
    assert!(world.fake.container_named("a").is_none());
    world.fake.exit(&world.id("i"), 0);
    let status = world.phase("Running").await;
    assert_eq!(status["initContainerStatuses"][0]["ready"], true);
}

#[tokio::test]
async fn a_restarted_agent_adopts_what_runs() {
    let world = World::new(pod(simple()));
    let first = world.start();
    world.phase("Running").await;
    let id = world.id("a");
    first.abort();
    // A new process knows nothing of what was sent.
    world.shared.statuses.forget("u1");
    *world.api.status.lock() = json!({});
    *world.api.history.lock() = (Vec::new(), 0);
    world.start();
    let status = world.phase("Running").await;
    assert_eq!(status["containerStatuses"][0]["containerID"], json!(format!("containerd://{id}")));
    assert_eq!((world.fake.count("start_container"), world.fake.count("run_pod_sandbox")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_told_and_tried_again() {
    let mut spec = simple();
    spec["containers"][0]["image"] = json!("none:1");
    let world = World::new(pod(spec));
    world.start();
    let reason = |s: &Value| s["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    world.api.until("first", |s| reason(s) == "ErrImagePull").await;
    world.api.until("back-off", |s| reason(s) == "ImagePullBackOff").await;
    assert_eq!(world.fake.count("pull_image"), 1);
    world.delete(0);
    world.api.deleted.notified().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_config_map_holds_the_pod_until_it_appears() {
    let mut spec = simple();
    spec["volumes"] = json!([{"name": "v", "configMap": {"name": "cm"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    let world = World::new(pod(spec));
    world.start();
    let status = world.phase("Pending").await;
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
    world.fake.wait_calls("run_pod_sandbox", 1).await;
    let map =
        json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "cm"}, "data": {"k": "v"}});
    world.api.objects.lock().insert("/api/v1/namespaces/n/configmaps/cm".into(), map);
    world.phase("Running").await;
    assert_eq!(world.fake.count("run_pod_sandbox"), 1);
    let (_, container) = world.fake.container_named("a").unwrap();
    let mount = container.config.mounts.iter().find(|m| m.container_path == "/v").unwrap();
    assert_eq!(std::fs::read_to_string(format!("{}/k", mount.host_path)).unwrap(), "v");
}

#[tokio::test]
async fn a_dead_sandbox_is_replaced() {
    let world = World::new(pod(simple()));
    world.start();
    world.phase("Running").await;
    world.fake.kill_sandbox(&world.fake.sandbox_ids()[0]);
    world.fake.wait_calls("run_pod_sandbox", 2).await;
    let status = world.api.until("again", |s| s["containerStatuses"][0]["restartCount"] == 1).await;
    assert_eq!(status["phase"], "Running");
}

#[tokio::test]
async fn a_rejected_pod_fails_without_touching_the_runtime() {
    let world = World::new(pod(simple()));
    world.desired.send_modify(|d| {
        d.rejected = Some(Failure { reason: "OutOfcpu".into(), message: "no".into() });
    });
    world.start();
    let status = world.phase("Failed").await;
    assert_eq!(status["reason"], "OutOfcpu");
    assert_eq!(world.fake.count("run_pod_sandbox"), 0);
}
