//! The scheduler against an API in memory. Time is paused: `settle` ends when every task waits.

use std::time::Duration;

use copepod_api::status::ApiError;
use copepod_client::fake::FakeApi;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::*;

struct Cluster {
    fake: FakeApi,
    client: Client,
    shutdown: Shutdown,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Cluster {
    fn start() -> Self {
        let (fake, shutdown) = (FakeApi::default(), Shutdown::new());
        let client = fake.client();
        let informers = Informers::new(client.clone(), &shutdown);
        let recorder = Recorder::new(client.clone(), "default-scheduler", "");
        let (own, node) = (client.clone(), shutdown.clone());
        tokio::spawn(async move { run(Config::default(), own, &informers, recorder, &node).await });
        Self { fake, client, shutdown }
    }

    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(900)).await;
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "ns")
    }

    async fn node(&self, name: &str, cpu: &str) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let node = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
        let room = json!({"cpu": cpu, "memory": "1Gi", "pods": "10"});
        let status = json!({"status": {"capacity": room, "allocatable": room}});
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        self.settle().await;
    }

    async fn pod(&self, name: &str, cpu: &str, spec: Value) {
        let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [
            {"name": "c", "image": "a", "resources": {"requests": {"cpu": cpu}}}]}});
        for (field, value) in spec.as_object().into_iter().flatten() {
            pod["spec"][field] = value.clone();
        }
        let pod = serde_json::from_value(pod).unwrap();
        self.pods().create(&PostParams::default(), &pod).await.unwrap();
        self.settle().await;
    }

    async fn node_of(&self, pod: &str) -> Option<String> {
        self.pods().get(pod).await.unwrap().spec.unwrap().node_name
    }

    /// Reason and message of `PodScheduled`.
    async fn refusal(&self, pod: &str) -> (String, String) {
        let conditions = self.pods().get(pod).await.unwrap().status.unwrap().conditions.unwrap();
        let found = conditions.into_iter().find(|condition| condition.type_ == "PodScheduled").unwrap();
        (found.reason.unwrap_or_default(), found.message.unwrap_or_default())
    }

    fn bindings(&self) -> usize {
        self.fake.take_writes().iter().filter(|write| write.ends_with("/binding")).count()
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_a_node_and_is_bound_when_one_comes() {
    let cluster = Cluster::start();
    cluster.pod("p", "1", json!({})).await;
    let expected = ("Unschedulable".to_owned(), "no nodes available to schedule pods".to_owned());
    assert_eq!(cluster.refusal("p").await, expected);
    cluster.node("n", "2").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.node_of("p").await.as_deref(), Some("n"));
    let events: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(cluster.client.clone(), "ns");
    let messages: Vec<_> = events
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .into_iter()
        .filter_map(|e| e.message)
        .collect();
    assert!(messages.contains(&"Successfully assigned ns/p to n".to_owned()), "{messages:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_ends_or_goes_makes_room_for_the_next() {
    let cluster = Cluster::start();
    cluster.node("n", "1").await;
    cluster.pod("first", "1", json!({})).await;
    cluster.pod("second", "1", json!({})).await;
    assert_eq!(cluster.refusal("second").await.1, "0/1 nodes are available: 1 Insufficient cpu.");
    let over = Patch::Strategic(json!({"status": {"phase": "Succeeded"}}));
    cluster.pods().patch_status("first", &PatchParams::default(), &over).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.node_of("second").await.as_deref(), Some("n"));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_pod_that_is_being_deleted_is_never_bound() {
    let cluster = Cluster::start();
    cluster.pod("p", "1", json!({})).await;
    let held = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/slow"]}}));
    cluster.pods().patch("p", &PatchParams::default(), &held).await.unwrap();
    cluster.pods().delete("p", &DeleteParams::default()).await.unwrap();
    cluster.node("n", "2").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(cluster.node_of("p").await, None);
    assert_eq!(cluster.bindings(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_gated_pod_says_so_and_is_bound_when_its_gates_open() {
    let cluster = Cluster::start();
    cluster.node("n", "2").await;
    cluster.pod("p", "1", json!({"schedulingGates": [{"name": "example.com/later"}]})).await;
    assert_eq!(cluster.refusal("p").await.0, "SchedulingGated");
    let open = Patch::Merge(json!({"spec": {"schedulingGates": null}}));
    cluster.pods().patch("p", &PatchParams::default(), &open).await.unwrap();
    cluster.settle().await;
    assert_eq!(cluster.node_of("p").await.as_deref(), Some("n"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_binding_is_told_and_tried_again_with_the_room_given_back() {
    let cluster = Cluster::start();
    let mut refusals = 1;
    cluster.fake.refuse(move |_, path, _| {
        let refused = path.ends_with("/binding") && refusals > 0;
        refusals -= i32::from(refused);
        refused.then(|| ApiError::new(500, "InternalError", "disk full"))
    });
    cluster.node("n", "1").await;
    cluster.pod("p", "1", json!({})).await;
    let (reason, message) = cluster.refusal("p").await;
    assert_eq!(reason, "SchedulerError");
    assert!(message.starts_with("binding rejected: "), "{message}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.node_of("p").await.as_deref(), Some("n"));
}

#[tokio::test(start_paused = true)]
async fn many_pods_at_once_never_take_more_than_a_node_has() {
    let cluster = Cluster::start();
    cluster.node("a", "2").await;
    cluster.node("b", "3").await;
    for n in 0..8 {
        let pod = json!({"metadata": {"name": format!("p{n}")}, "spec": {"containers": [
            {"name": "c", "image": "a", "resources": {"requests": {"cpu": "1"}}}]}});
        cluster.pods().create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    }
    cluster.settle().await;
    let pods = cluster.pods().list(&ListParams::default()).await.unwrap().items;
    let on = |node: &str| {
        pods.iter().filter(|pod| pod.spec.as_ref().unwrap().node_name.as_deref() == Some(node)).count()
    };
    assert_eq!((on("a"), on("b")), (2, 3));
    assert_eq!(cluster.bindings(), 5);
    assert!(pods.iter().all(|pod| !pod.name_any().is_empty()));
    // Nothing changes: one more try of each parked pod after five minutes, and no other write than its event.
    tokio::time::sleep(Duration::from_secs(250)).await;
    let _ = cluster.fake.take_writes();
    tokio::time::sleep(Duration::from_secs(100)).await;
    let writes = cluster.fake.take_writes();
    assert!(writes.iter().all(|write| write.contains("/events")), "{writes:?}");
}
