//! Deployments, ReplicaSets and their pods.

use std::time::Duration;

use copepod_api::status::ApiError;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{Cluster, deployment, pod_template};

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}})
}

async fn status(cluster: &Cluster) -> DeploymentStatus {
    cluster.get::<Deployment>("web").await.status.unwrap()
}

async fn condition(cluster: &Cluster, kind: &str) -> (String, String) {
    let conditions = status(cluster).await.conditions.unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition.type_ == kind);
    found.map(|found| (found.status, found.reason.unwrap_or_default())).unwrap_or_default()
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.into(), reason.into())
}

/// Replicas by the image of the set's template.
async fn sizes(cluster: &Cluster) -> Vec<(String, i32)> {
    let mut sizes: Vec<_> = cluster
        .list::<ReplicaSet>()
        .await
        .into_iter()
        .map(|set| {
            let spec = set.spec.unwrap();
            let pod = spec.template.unwrap().spec.unwrap();
            (pod.containers[0].image.clone().unwrap(), spec.replicas.unwrap())
        })
        .collect();
    sizes.sort();
    sizes
}

async fn revision(cluster: &Cluster) -> String {
    cluster.get::<Deployment>("web").await.annotations()["deployment.kubernetes.io/revision"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_deployment_becomes_complete_and_then_nothing_is_written_any_more() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(3)).await;
    assert_eq!(condition(&cluster, "Available").await, pair("False", "MinimumReplicasUnavailable"));
    assert_eq!(condition(&cluster, "Progressing").await.0, "True");
    cluster.run_pods().await;
    let status = status(&cluster).await;
    assert_eq!(
        (status.replicas, status.updated_replicas, status.available_replicas),
        (Some(3), Some(3), Some(3))
    );
    assert_eq!((status.unavailable_replicas, status.observed_generation), (None, Some(1)));
    assert_eq!(condition(&cluster, "Available").await, pair("True", "MinimumReplicasAvailable"));
    assert_eq!(condition(&cluster, "Progressing").await, pair("True", "NewReplicaSetAvailable"));
    assert_eq!(revision(&cluster).await, "1");
    assert_eq!(cluster.writes_in(Duration::from_secs(1200)).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_status_of_zeros_is_written_once() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(0)).await;
    cluster.patch::<Deployment>("web", json!({"metadata": {"labels": {"touched": "yes"}}})).await;
    let _ = cluster.fake.take_writes();
    cluster.patch::<Deployment>("web", json!({"metadata": {"labels": {"touched": "again"}}})).await;
    let set = cluster.names::<ReplicaSet>().await.remove(0);
    cluster.patch::<ReplicaSet>(&set, json!({"metadata": {"labels": {"touched": "yes"}}})).await;
    let writes: Vec<_> = cluster.fake.take_writes();
    assert!(!writes.iter().any(|write| write.ends_with("/status")), "{writes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_keeps_its_bounds_and_a_rollback_takes_the_next_revision() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(4)).await;
    cluster.run_pods().await;
    cluster.patch::<Deployment>("web", image("a:2")).await;
    // 25 % of 4: one more, one less.
    assert_eq!(sizes(&cluster).await, [("a:1".into(), 3), ("a:2".into(), 2)]);
    cluster.run_pods().await;
    assert_eq!(sizes(&cluster).await, [("a:1".into(), 0), ("a:2".into(), 4)]);
    assert_eq!(revision(&cluster).await, "2");
    cluster.patch::<Deployment>("web", image("a:1")).await;
    cluster.run_pods().await;
    assert_eq!(sizes(&cluster).await, [("a:1".into(), 4), ("a:2".into(), 0)]);
    assert_eq!(revision(&cluster).await, "3");
    let sets = cluster.list::<ReplicaSet>().await;
    let history =
        |set: &ReplicaSet| set.annotations().get("deployment.kubernetes.io/revision-history").cloned();
    assert_eq!(sets.iter().filter_map(history).collect::<Vec<_>>(), ["1"]);
    assert_eq!(condition(&cluster, "Progressing").await, pair("True", "NewReplicaSetAvailable"));
}

#[tokio::test(start_paused = true)]
async fn recreate_waits_for_the_last_old_pod() {
    let cluster = Cluster::start().await;
    let mut wanted = deployment(2);
    wanted["spec"]["strategy"] = json!({"type": "Recreate"});
    cluster.create::<Deployment>(wanted).await;
    for pod in cluster.names::<Pod>().await {
        cluster.patch::<Pod>(&pod, json!({"metadata": {"finalizers": ["example.com/slow"]}})).await;
    }
    cluster.run_pods().await;
    cluster.patch::<Deployment>("web", image("a:2")).await;
    assert_eq!(sizes(&cluster).await, [("a:1".into(), 0)]);
    for pod in cluster.names::<Pod>().await {
        assert_eq!(sizes(&cluster).await.len(), 1);
        cluster
            .patch::<Pod>(
                &pod,
                json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/slow"]}}),
            )
            .await;
    }
    assert_eq!(sizes(&cluster).await, [("a:1".into(), 0), ("a:2".into(), 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_deployment_scales_but_does_not_roll_out() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(2)).await;
    cluster.run_pods().await;
    cluster.patch::<Deployment>("web", json!({"spec": {"paused": true}})).await;
    assert_eq!(condition(&cluster, "Progressing").await, pair("Unknown", "DeploymentPaused"));
    cluster.patch::<Deployment>("web", image("a:2")).await;
    cluster.patch::<Deployment>("web", json!({"spec": {"replicas": 3}})).await;
    assert_eq!(sizes(&cluster).await, [("a:1".into(), 3)]);
    cluster.patch::<Deployment>("web", json!({"spec": {"paused": false}})).await;
    cluster.run_pods().await;
    assert_eq!(sizes(&cluster).await, [("a:1".into(), 0), ("a:2".into(), 3)]);
    assert_eq!(condition(&cluster, "Progressing").await, pair("True", "NewReplicaSetAvailable"));
}

#[tokio::test(start_paused = true)]
async fn scaling_and_lost_pods_of_a_finished_rollout_are_no_progress() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(2)).await;
    cluster.run_pods().await;
    cluster.patch::<Deployment>("web", json!({"spec": {"replicas": 4}})).await;
    assert_eq!(condition(&cluster, "Progressing").await, pair("True", "NewReplicaSetAvailable"));
    cluster.run_pods().await;
    assert_eq!(condition(&cluster, "Progressing").await, pair("True", "NewReplicaSetAvailable"));
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_refused_is_told_and_tried_again() {
    let cluster = Cluster::start().await;
    let mut refusals = 3;
    cluster.fake.refuse(move |method, path, _| {
        let refused = method == http::Method::POST && path.ends_with("/replicasets") && refusals > 0;
        refusals -= i32::from(refused);
        refused.then(|| ApiError::new(403, "Forbidden", "exceeded quota"))
    });
    let object = serde_json::from_value(deployment(1)).unwrap();
    cluster.api::<Deployment>().create(&kube::api::PostParams::default(), &object).await.unwrap();
    cluster.settle().await;
    assert_eq!(cluster.names::<ReplicaSet>().await.len(), 1);
    let events = cluster.list::<Event>().await;
    let refused =
        events.iter().find(|event| event.reason.as_deref() == Some("ReplicaSetCreateError")).unwrap();
    assert_eq!(refused.source.as_ref().unwrap().component.as_deref(), Some("deployment-controller"));
    assert!(refused.message.as_deref().unwrap().ends_with(": exceeded quota"));
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_deployment_left_under_the_same_name_is_passed_by() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(1)).await;
    let set = cluster.names::<ReplicaSet>().await.remove(0);
    // Held, so that it is there when the Deployment comes again.
    cluster.patch::<ReplicaSet>(&set, json!({"metadata": {"finalizers": ["example.com/slow"]}})).await;
    cluster.delete::<Deployment>("web", DeleteParams::background()).await;
    cluster.create::<Deployment>(deployment(1)).await;
    assert_eq!(status(&cluster).await.collision_count, Some(1));
    assert_eq!(cluster.names::<ReplicaSet>().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn old_sets_beyond_the_history_go() {
    let cluster = Cluster::start().await;
    let mut wanted = deployment(1);
    wanted["spec"]["revisionHistoryLimit"] = json!(1);
    cluster.create::<Deployment>(wanted).await;
    for version in ["a:2", "a:3", "a:4"] {
        cluster.patch::<Deployment>("web", image(version)).await;
        cluster.run_pods().await;
    }
    assert_eq!(sizes(&cluster).await, [("a:3".into(), 0), ("a:4".into(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn sets_and_pods_are_let_go_and_adopted_by_their_labels() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(1)).await;
    let set = cluster.list::<ReplicaSet>().await.remove(0);
    let pod = cluster.names::<Pod>().await.remove(0);
    cluster.patch::<Pod>(&pod, json!({"metadata": {"labels": {"app": "other"}}})).await;
    assert!(cluster.get::<Pod>(&pod).await.owner_references().is_empty());
    assert_eq!(cluster.names::<Pod>().await.len(), 2);
    // Back again, it is one too many and the set chooses.
    cluster.patch::<Pod>(&pod, json!({"metadata": {"labels": {"app": "web"}}})).await;
    assert_eq!(cluster.names::<Pod>().await.len(), 1);
    cluster.patch::<ReplicaSet>(&set.name_any(), json!({"metadata": {"labels": {"app": "other"}}})).await;
    assert!(cluster.get::<ReplicaSet>(&set.name_any()).await.owner_references().is_empty());
    cluster.patch::<ReplicaSet>(&set.name_any(), json!({"metadata": {"labels": {"app": "web"}}})).await;
    assert_eq!(cluster.get::<ReplicaSet>(&set.name_any()).await.owner_references().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn pods_are_made_once_however_far_the_cache_is_behind() {
    let cluster = Cluster::without_controllers();
    cluster.fake.delay_events(Duration::from_millis(200));
    cluster.run_controllers();
    cluster.settle().await;
    let set = json!({"metadata": {"name": "s"}, "spec": {"replicas": 40,
        "selector": {"matchLabels": {"app": "web"}}, "template": pod_template("a:1")}});
    cluster.create::<ReplicaSet>(set).await;
    cluster.pass(Duration::from_secs(60)).await;
    assert_eq!(cluster.names::<Pod>().await.len(), 40);
    let writes = cluster.fake.take_writes();
    let made = writes.iter().filter(|write| write.starts_with("POST") && write.ends_with("/pods")).count();
    assert_eq!(made, 40);
}

#[tokio::test(start_paused = true)]
async fn a_full_quota_is_met_by_few_requests_and_told_in_the_status() {
    let cluster = Cluster::start().await;
    cluster.fake.refuse(|method, path, _| {
        let refused = method == http::Method::POST && path.ends_with("/pods");
        refused.then(|| ApiError::new(403, "Forbidden", "exceeded quota"))
    });
    let set = json!({"metadata": {"name": "s"}, "spec": {"replicas": 100,
        "selector": {"matchLabels": {"app": "web"}}, "template": pod_template("a:1")}});
    cluster.create::<ReplicaSet>(set).await;
    let conditions = cluster.get::<ReplicaSet>("s").await.status.unwrap().conditions.unwrap();
    assert_eq!(conditions[0].type_, "ReplicaFailure");
    assert_eq!(conditions[0].reason.as_deref(), Some("FailedCreate"));
    assert_eq!(conditions[0].message.as_deref(), Some("exceeded quota"));
    let writes = cluster.fake.take_writes();
    let tries = writes.iter().filter(|write| write.starts_with("POST") && write.ends_with("/pods")).count();
    assert!(tries < 12, "{tries}");
}
