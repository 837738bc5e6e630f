//! Deletion: graces, finalizers, propagation, namespaces.

use serde_json::{Value, json};

use super::support::{Cluster, request};
use crate::Identity;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn pod(cluster: &Cluster, name: &str) -> String {
    let body = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    cluster.post(PODS, body).await.expect(201);
    format!("{PODS}/{name}")
}

async fn bind(cluster: &Cluster, name: &str) {
    let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n"}});
    cluster.post(&format!("{PODS}/{name}/binding"), binding).await.expect(201);
}

async fn delete_with(cluster: &Cluster, path: &str, options: Value) -> super::support::Answer {
    cluster.call(Identity::admin(), request("DELETE", path, "", &options.to_string())).await
}

#[tokio::test]
async fn a_pod_without_a_node_goes_at_once_and_one_with_a_node_gets_its_grace() {
    let cluster = Cluster::new().await;
    cluster.default_account("default").await;
    let path = pod(&cluster, "a").await;
    cluster.delete(&path).await.expect(200);
    cluster.get(&path).await.expect(404);

    let path = pod(&cluster, "b").await;
    bind(&cluster, "b").await;
    let marked = cluster.delete(&path).await.expect(200).json();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let again = delete_with(&cluster, &path, json!({"gracePeriodSeconds": 60})).await.expect(200).json();
    assert_eq!(again, marked, "a grace is never made longer");
    let shorter = delete_with(&cluster, &path, json!({"gracePeriodSeconds": 5})).await.expect(200).json();
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    assert_ne!(shorter["metadata"]["deletionTimestamp"], marked["metadata"]["deletionTimestamp"]);
    let uid = shorter["metadata"]["uid"].clone();
    let foreign = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "other"}});
    delete_with(&cluster, &path, foreign).await.expect(409);
    delete_with(&cluster, &path, json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}))
        .await
        .expect(200);
    cluster.get(&path).await.expect(404);
}

#[tokio::test]
async fn a_finalizer_holds_an_object_until_it_is_taken_away() {
    let cluster = Cluster::new().await;
    let body = json!({"metadata": {"name": "a", "finalizers": ["example.com/x"]}});
    cluster.post(MAPS, body).await.expect(201);
    let path = format!("{MAPS}/a");
    let marked = cluster.delete(&path).await.expect(200).json();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let same = cluster.delete(&path).await.expect(200).json();
    assert_eq!(same, marked);
    let more = json!({"metadata": {"finalizers": ["example.com/x", "example.com/y"]}});
    let refused = cluster.patch(&path, "merge-patch", more).await.expect(422);
    assert!(refused.message().contains("no new finalizers can be added if the object is being deleted"));
    cluster.patch(&path, "merge-patch", json!({"metadata": {"finalizers": null}})).await.expect(200);
    cluster.get(&path).await.expect(404);
}

#[tokio::test]
async fn the_propagation_policy_becomes_a_finalizer() {
    let cluster = Cluster::new().await;
    let finalizers = async |name: &str, options: Value| {
        cluster.post(MAPS, json!({"metadata": {"name": name}})).await.expect(201);
        let answer = delete_with(&cluster, &format!("{MAPS}/{name}"), options).await.expect(200).json();
        answer["metadata"]["finalizers"].clone()
    };
    assert_eq!(
        finalizers("a", json!({"propagationPolicy": "Foreground"})).await,
        json!(["foregroundDeletion"])
    );
    assert_eq!(finalizers("b", json!({"propagationPolicy": "Orphan"})).await, json!(["orphan"]));
    assert_eq!(finalizers("c", json!({"orphanDependents": true})).await, json!(["orphan"]));
    assert_eq!(finalizers("d", json!({"propagationPolicy": "Background"})).await, Value::Null);
    cluster.get(&format!("{MAPS}/d")).await.expect(404);
    // A second deletion may change its mind.
    delete_with(&cluster, &format!("{MAPS}/a"), json!({"propagationPolicy": "Background"})).await.expect(200);
    cluster.get(&format!("{MAPS}/a")).await.expect(404);
    let query = format!("{MAPS}/b?propagationPolicy=Foreground");
    let changed = cluster.delete(&query).await.expect(200).json();
    assert_eq!(changed["metadata"]["finalizers"], json!(["foregroundDeletion"]));
}

#[tokio::test]
async fn a_namespace_terminates_refuses_new_content_and_goes_when_it_is_finalized() {
    let cluster = Cluster::new().await;
    cluster.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.expect(201);
    let path = "/api/v1/namespaces/n";
    let marked = cluster.delete(path).await.expect(200).json();
    assert_eq!(marked["status"]["phase"], "Terminating");
    let refused =
        cluster.post(&format!("{path}/configmaps"), json!({"metadata": {"name": "a"}})).await.expect(403);
    assert_eq!(
        refused.message(),
        "configmaps \"a\" is forbidden: unable to create new content in namespace n because it is being terminated"
    );
    assert_eq!(refused.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    cluster.patch(path, "merge-patch", json!({"metadata": {"labels": {"a": "b"}}})).await.expect(200);
    let mut namespace = cluster.get(path).await.expect(200).json();
    namespace["spec"]["finalizers"] = json!([]);
    cluster.put(&format!("{path}/finalize"), &namespace).await.expect(200);
    cluster.get(path).await.expect(404);
}

#[tokio::test]
async fn a_collection_is_deleted_by_its_selector_and_answered_as_a_list() {
    let cluster = Cluster::new().await;
    for (name, on) in [("a", "1"), ("b", "2"), ("c", "1")] {
        cluster.post(MAPS, json!({"metadata": {"name": name, "labels": {"on": on}}})).await.expect(201);
    }
    let gone = cluster.delete(&format!("{MAPS}?labelSelector=on%3D1")).await.expect(200).json();
    assert_eq!((&gone["kind"], gone["items"].as_array().unwrap().len()), (&json!("ConfigMapList"), 2));
    let left = cluster.get(MAPS).await.json();
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}
