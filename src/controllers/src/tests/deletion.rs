//! Garbage and namespaces.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::{Cluster, deployment};

fn orphan() -> DeleteParams {
    DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() }
}

async fn running() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(2)).await;
    cluster.run_pods().await;
    cluster
}

#[tokio::test(start_paused = true)]
async fn deleting_in_the_background_takes_all_dependents() {
    let cluster = running().await;
    cluster.delete::<Deployment>("web", DeleteParams::background()).await;
    cluster.run_pods().await;
    assert!(cluster.names::<ReplicaSet>().await.is_empty());
    assert!(cluster.names::<Pod>().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn deleting_in_the_foreground_takes_the_owner_last() {
    let cluster = running().await;
    let pod = cluster.names::<Pod>().await.remove(0);
    cluster.patch::<Pod>(&pod, json!({"metadata": {"finalizers": ["example.com/slow"]}})).await;
    cluster.delete::<Deployment>("web", DeleteParams::foreground()).await;
    cluster.run_pods().await;
    assert_eq!(cluster.names::<Pod>().await, [pod.as_str()]);
    assert_eq!(cluster.names::<Deployment>().await, ["web"]);
    let release = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/slow"]}});
    cluster.patch::<Pod>(&pod, release).await;
    assert!(cluster.names::<Deployment>().await.is_empty());
    assert!(cluster.names::<ReplicaSet>().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn orphans_stay_and_are_adopted_by_the_next_owner() {
    let cluster = running().await;
    let pods = cluster.names::<Pod>().await;
    cluster.delete::<Deployment>("web", orphan()).await;
    let set = cluster.list::<ReplicaSet>().await.remove(0);
    assert!(set.owner_references().is_empty());
    cluster.create::<Deployment>(deployment(2)).await;
    let adopted = cluster.list::<ReplicaSet>().await;
    assert_eq!(adopted.len(), 1);
    assert_eq!((adopted[0].uid(), adopted[0].owner_references().len()), (set.uid(), 1));
    assert_eq!(cluster.names::<Pod>().await, pods);
}

/// The API alone, with an owner that is being deleted and leaves behind what it owns.
#[tokio::test(start_paused = true)]
async fn a_restart_while_dependents_are_orphaned_costs_none_of_them() {
    let cluster = Cluster::without_controllers();
    let maps = cluster.api::<ConfigMap>();
    let made = |object: Value| serde_json::from_value::<ConfigMap>(object).unwrap();
    let params = PostParams::default();
    // Of another kind than its dependents: kinds are listed in no order.
    let owner: ServiceAccount = cluster.create(json!({"metadata": {"name": "owner"}})).await;
    for n in 0..20 {
        let map = made(json!({"metadata": {"name": format!("m{n}"), "ownerReferences": [
            {"apiVersion": "v1", "kind": "ServiceAccount", "name": "owner", "uid": owner.uid()}]}}));
        maps.create(&params, &map).await.unwrap();
    }
    cluster.api::<ServiceAccount>().delete("owner", &orphan()).await.unwrap();
    cluster.run_controllers();
    cluster.settle().await;
    assert!(!cluster.names::<ServiceAccount>().await.contains(&"owner".to_owned()));
    assert_eq!(maps.list(&Default::default()).await.unwrap().items.len(), 20);
}

/// Three owners of each other; no controllers yet.
async fn circle() -> Cluster {
    let cluster = Cluster::without_controllers();
    let mut uids = Vec::new();
    for name in ["a", "b", "c"] {
        uids.push(cluster.create::<ConfigMap>(json!({"metadata": {"name": name}})).await.uid());
    }
    for (name, owner, uid) in [("a", "c", &uids[2]), ("b", "a", &uids[0]), ("c", "b", &uids[1])] {
        let owners = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid, "blockOwnerDeletion": true}]);
        cluster.patch::<ConfigMap>(name, json!({"metadata": {"ownerReferences": owners}})).await;
    }
    cluster
}

#[tokio::test(start_paused = true)]
async fn owners_in_a_circle_do_not_wait_for_each_other() {
    let cluster = circle().await;
    cluster.run_controllers();
    cluster.settle().await;
    cluster.delete::<ConfigMap>("a", DeleteParams::foreground()).await;
    assert!(cluster.names::<ConfigMap>().await.is_empty());
}

/// Time stands still as long as anything is done, so this ends only when nothing is.
#[tokio::test(start_paused = true)]
async fn a_circle_that_is_deleted_all_at_once_is_not_gone_round_without_end() {
    let cluster = circle().await;
    for name in ["a", "b", "c"] {
        cluster.api::<ConfigMap>().delete(name, &DeleteParams::foreground()).await.unwrap();
    }
    cluster.run_controllers();
    cluster.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_dependent_of_an_owner_that_never_was_goes_and_one_of_an_unknown_kind_stays() {
    let cluster = Cluster::start().await;
    let owned = |name: &str, version: &str, kind: &str| {
        json!({"metadata": {"name": name, "ownerReferences": [
            {"apiVersion": version, "kind": kind, "name": "x", "uid": "never"}]}})
    };
    cluster.create::<ConfigMap>(owned("stray", "v1", "ServiceAccount")).await;
    cluster.create::<ConfigMap>(owned("foreign", "example.com/v1", "Unknown")).await;
    assert_eq!(cluster.names::<ConfigMap>().await, ["foreign"]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_may_be_named_in_another_version() {
    let cluster = Cluster::start().await;
    let owner = json!({"metadata": {"name": "scaler"}, "spec": {"maxReplicas": 1, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}});
    let owner: k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler = cluster.create(owner).await;
    let map = json!({"metadata": {"name": "owned", "ownerReferences": [
        {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "name": "scaler", "uid": owner.uid()}]}});
    cluster.create::<ConfigMap>(map).await;
    assert_eq!(cluster.names::<ConfigMap>().await, ["owned"]);
    type Scaler = k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
    cluster.delete::<Scaler>("scaler", DeleteParams::background()).await;
    assert!(cluster.names::<ConfigMap>().await.is_empty());
}

async fn with_namespace() -> (Cluster, Api<Namespace>) {
    let cluster = Cluster::start().await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "ns"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    cluster.settle().await;
    (cluster, namespaces)
}

#[tokio::test(start_paused = true)]
async fn a_namespace_gets_its_account_and_certificate_and_keeps_them() {
    let (cluster, _) = with_namespace().await;
    assert_eq!(cluster.names::<ServiceAccount>().await, ["default"]);
    cluster.delete::<ServiceAccount>("default", DeleteParams::default()).await;
    assert_eq!(cluster.names::<ServiceAccount>().await, ["default"]);
    let change = json!({"data": {"ca.crt": "another", "more": "1"}});
    cluster.patch::<ConfigMap>("kube-root-ca.crt", change).await;
    let map = cluster.get::<ConfigMap>("kube-root-ca.crt").await;
    assert_eq!(map.data.unwrap(), [("ca.crt".to_owned(), "CERTIFICATE".to_owned())].into());
    assert_eq!(cluster.writes_in(Duration::from_secs(1200)).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_namespace_loses_its_pods_first_then_all_else_and_then_itself() {
    let (cluster, namespaces) = with_namespace().await;
    cluster.create::<Deployment>(deployment(1)).await;
    let pod = cluster.names::<Pod>().await.remove(0);
    let held = json!({"metadata": {"finalizers": ["example.com/slow"]}});
    cluster.patch::<Pod>(&pod, held.clone()).await;
    cluster
        .create::<ConfigMap>(json!({"metadata": {"name": "held", "finalizers": ["example.com/slow"]}}))
        .await;
    namespaces.delete("ns", &DeleteParams::default()).await.unwrap();
    cluster.settle().await;
    let condition = |namespace: Namespace, kind: &str| {
        let conditions = namespace.status.unwrap().conditions.unwrap();
        conditions.into_iter().find(|condition| condition.type_ == kind).unwrap().message.unwrap()
    };
    let waiting = namespaces.get("ns").await.unwrap();
    assert_eq!(
        condition(waiting, "NamespaceContentRemaining"),
        "Some resources are remaining: pods. has 1 resource instances"
    );
    assert_eq!(cluster.names::<ConfigMap>().await.len(), 2, "pods go first");
    let release = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/slow"]}});
    cluster.patch::<Pod>(&pod, release.clone()).await;
    let waiting = namespaces.get("ns").await.unwrap();
    assert_eq!(
        condition(waiting, "NamespaceContentRemaining"),
        "Some resources are remaining: configmaps. has 1 resource instances"
    );
    assert_eq!(cluster.names::<ConfigMap>().await, ["held"]);
    // What somebody else holds is asked for, not deleted again.
    assert_eq!(cluster.writes_in(Duration::from_secs(300)).await, [""; 0]);
    let params = PatchParams::default();
    cluster.api::<ConfigMap>().patch("held", &params, &Patch::Strategic(release)).await.unwrap();
    cluster.pass(Duration::from_secs(61)).await;
    assert!(namespaces.get_opt("ns").await.unwrap().is_none());
}
