//! Nodes and the pods on them.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::Cluster;

async fn with_nodes(count: usize) -> (Cluster, Api<Node>) {
    let cluster = Cluster::start().await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    for n in 0..count {
        let node = json!({"metadata": {"name": format!("n{n}")}});
        let node = serde_json::from_value(node).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let name = format!("n{n}");
        nodes.patch_status(&name, &PatchParams::default(), &Patch::Merge(ready)).await.unwrap();
        cluster.settle().await;
    }
    (cluster, nodes)
}

async fn taints(nodes: &Api<Node>, name: &str) -> Vec<(String, String, bool)> {
    let spec = nodes.get(name).await.unwrap().spec.unwrap_or_default();
    let taints = spec.taints.unwrap_or_default().into_iter();
    taints.map(|taint| (taint.key, taint.effect, taint.time_added.is_some())).collect()
}

async fn pod_on(cluster: &Cluster, node: &str, more: Value) -> String {
    let mut pod = json!({"metadata": {"generateName": "p-"}, "spec": {"nodeName": node,
        "containers": [{"name": "c", "image": "a"}]}});
    pod["spec"]["tolerations"] = more;
    cluster.create::<Pod>(pod).await.name_any()
}

#[tokio::test(start_paused = true)]
async fn nodes_get_parts_of_the_range_and_a_deleted_node_makes_room() {
    // The range has two parts.
    let (cluster, nodes) = with_nodes(3).await;
    let cidr = |node: Node| node.spec.and_then(|spec| spec.pod_cidr);
    assert_eq!(cidr(nodes.get("n0").await.unwrap()).as_deref(), Some("10.42.0.0/24"));
    assert_eq!(cidr(nodes.get("n1").await.unwrap()).as_deref(), Some("10.42.1.0/24"));
    assert_eq!(cidr(nodes.get("n2").await.unwrap()), None);
    nodes.delete("n0", &DeleteParams::default()).await.unwrap();
    cluster.settle().await;
    assert_eq!(cidr(nodes.get("n2").await.unwrap()).as_deref(), Some("10.42.0.0/24"));
}

#[tokio::test(start_paused = true)]
async fn cordoning_taints_and_uncordoning_removes_the_taint() {
    let (cluster, nodes) = with_nodes(1).await;
    let cordon = |on: bool| Patch::Merge(json!({"spec": {"unschedulable": on}}));
    nodes.patch("n0", &PatchParams::default(), &cordon(true)).await.unwrap();
    cluster.settle().await;
    let unschedulable = ("node.kubernetes.io/unschedulable".to_owned(), "NoSchedule".to_owned(), true);
    assert_eq!(taints(&nodes, "n0").await, [unschedulable]);
    nodes.patch("n0", &PatchParams::default(), &cordon(false)).await.unwrap();
    cluster.settle().await;
    assert!(taints(&nodes, "n0").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_unknown_tainted_and_its_pods_are_not_ready_and_evicted() {
    let (cluster, nodes) = with_nodes(1).await;
    let every = json!([{"operator": "Exists"}]);
    let stays = pod_on(&cluster, "n0", every).await;
    let goes = pod_on(&cluster, "n0", json!([])).await;
    cluster.run_pods().await;
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), "kube-node-lease");
    let lease = |micros: i64| json!({"metadata": {"name": "n0"}, "spec": {"renewTime": format!("2026-01-01T00:00:00.{micros:06}Z")}});
    let first = serde_json::from_value(lease(1)).unwrap();
    leases.create(&PostParams::default(), &first).await.unwrap();
    cluster.pass(Duration::from_secs(45)).await;
    leases.patch("n0", &PatchParams::default(), &Patch::Merge(lease(2))).await.unwrap();
    cluster.pass(Duration::from_secs(45)).await;
    assert!(taints(&nodes, "n0").await.is_empty(), "it was heard of 45 s ago");
    cluster.pass(Duration::from_secs(10)).await;
    let key = "node.kubernetes.io/unreachable".to_owned();
    let both = [(key.clone(), "NoSchedule".to_owned(), true), (key, "NoExecute".to_owned(), true)];
    assert_eq!(taints(&nodes, "n0").await, both);
    assert!(!crate::pods::is_ready(&cluster.get::<Pod>(&stays).await));
    assert!(cluster.get::<Pod>(&stays).await.metadata.deletion_timestamp.is_none());
    assert!(cluster.get::<Pod>(&goes).await.metadata.deletion_timestamp.is_some());
    assert_eq!(cluster.writes_in(Duration::from_secs(600)).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_deleted_node_go_after_a_quarantine_and_stay_when_it_comes_back() {
    let (cluster, nodes) = with_nodes(2).await;
    let lost = pod_on(&cluster, "n0", json!([])).await;
    let kept = pod_on(&cluster, "n1", json!([])).await;
    for name in ["n0", "n1"] {
        nodes.delete(name, &DeleteParams::default()).await.unwrap();
    }
    cluster.pass(Duration::from_secs(30)).await;
    assert_eq!(cluster.names::<Pod>().await.len(), 2);
    let back = serde_json::from_value(json!({"metadata": {"name": "n1"}})).unwrap();
    nodes.create(&PostParams::default(), &back).await.unwrap();
    cluster.pass(Duration::from_secs(30)).await;
    assert_eq!(cluster.names::<Pod>().await, [kept.as_str()]);
    assert_ne!(lost, kept);
}

#[tokio::test(start_paused = true)]
async fn a_collected_pod_that_a_finalizer_holds_is_not_deleted_again_and_again() {
    let (cluster, nodes) = with_nodes(1).await;
    let held = pod_on(&cluster, "n0", json!([])).await;
    let free = pod_on(&cluster, "n0", json!([])).await;
    cluster.patch::<Pod>(&held, json!({"metadata": {"finalizers": ["example.com/slow"]}})).await;
    nodes.delete("n0", &DeleteParams::default()).await.unwrap();
    cluster.pass(Duration::from_secs(60)).await;
    assert_eq!(cluster.names::<Pod>().await, [held.as_str()]);
    assert_ne!(held, free);
    cluster.patch::<Pod>(&held, json!({"metadata": {"labels": {"touched": "yes"}}})).await;
    assert_eq!(cluster.writes_in(Duration::from_secs(600)).await, [""; 0]);
}
