//! Objects come and go.

use serde_json::json;

use super::support::Cluster;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_new_cluster_has_its_own_objects() {
    let cluster = Cluster::new().await;
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let namespace = cluster.get(&format!("/api/v1/namespaces/{name}")).await.expect(200).json();
        assert_eq!(namespace["status"]["phase"], "Active");
        assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
    }
    let service = cluster.get("/api/v1/namespaces/default/services/kubernetes").await.expect(200).json();
    assert_eq!(service["spec"]["clusterIP"], "10.43.0.1");
    let ready = cluster.get("/readyz?verbose").await.expect(200).text();
    assert!(ready.ends_with("readyz check passed\n"), "{ready}");
}

#[tokio::test]
async fn an_object_is_created_read_changed_and_deleted() {
    let cluster = Cluster::new().await;
    let made =
        cluster.post(MAPS, json!({"metadata": {"name": "a"}, "data": {"x": "1"}})).await.expect(201).json();
    assert_eq!((&made["kind"], &made["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert!(made["metadata"]["uid"].is_string() && made["metadata"]["creationTimestamp"].is_string());
    let mut read = cluster.get(&format!("{MAPS}/a")).await.expect(200).json();
    assert_eq!(read, made);

    read["data"]["x"] = json!("2");
    let changed = cluster.put(&format!("{MAPS}/a"), &read).await.expect(200).json();
    assert_ne!(changed["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let stale = cluster.put(&format!("{MAPS}/a"), &read).await.expect(409);
    assert_eq!(
        stale.message(),
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
    let same = cluster.put(&format!("{MAPS}/a"), &changed).await.expect(200).json();
    assert_eq!(same, changed, "a change of nothing is no write");

    let gone = cluster.delete(&format!("{MAPS}/a")).await.expect(200).json();
    assert_eq!((&gone["kind"], &gone["status"]), (&json!("Status"), &json!("Success")));
    let missing = cluster.get(&format!("{MAPS}/a")).await.expect(404);
    assert_eq!(
        (missing.reason().as_str(), missing.message().as_str()),
        ("NotFound", "configmaps \"a\" not found")
    );
}
