//! Creates, updates and patches.

use serde_json::{Value, json};

use super::support::{Cluster, request};
use crate::Identity;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "j"}]},
            },
        },
    })
}

#[tokio::test]
async fn generated_names_are_different_each_time() {
    let cluster = Cluster::new().await;
    let body = json!({"metadata": {"generateName": "a-"}});
    let first = cluster.post(MAPS, body.clone()).await.expect(201).json();
    let second = cluster.post(MAPS, body).await.expect(201).json();
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name(&first).starts_with("a-") && name(&first).len() == 7, "{first}");
    assert_ne!(name(&first), name(&second));
}

#[tokio::test]
async fn the_generation_moves_with_the_spec_and_the_status_has_its_own_way() {
    let cluster = Cluster::new().await;
    let mut made = deployment(1);
    made["metadata"]["generation"] = json!(7);
    made["status"] = json!({"replicas": 9});
    let made = cluster.post(DEPLOYMENTS, made).await.expect(201).json();
    assert_eq!(made["metadata"]["generation"], 1);
    assert!(made["status"].get("replicas").is_none(), "{made}");

    let path = format!("{DEPLOYMENTS}/web");
    let mut wanted = made.clone();
    wanted["status"] = json!({"replicas": 5});
    wanted["metadata"]["labels"] = json!({"a": "b"});
    let labelled = cluster.put(&path, &wanted).await.expect(200).json();
    assert_eq!(labelled["metadata"]["generation"], 1, "labels are not the spec");
    assert!(labelled["status"].get("replicas").is_none());

    wanted = labelled.clone();
    wanted["spec"]["replicas"] = json!(3);
    wanted["status"] = json!({"replicas": 5, "observedGeneration": 1});
    let status = cluster.put(&format!("{path}/status"), &wanted).await.expect(200).json();
    assert_eq!((&status["status"]["replicas"], &status["spec"]["replicas"]), (&json!(5), &json!(1)));

    let scaled =
        cluster.patch(&path, "merge-patch", json!({"spec": {"replicas": 4}})).await.expect(200).json();
    assert_eq!((&scaled["metadata"]["generation"], &scaled["status"]["replicas"]), (&json!(2), &json!(5)));
}

#[tokio::test]
async fn the_three_patches_change_what_they_say() {
    let cluster = Cluster::new().await;
    cluster.post(DEPLOYMENTS, deployment(1)).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web");
    let containers = json!({"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "new"}]}}}});
    let patched = cluster.patch(&path, "strategic-merge-patch", containers.clone()).await.expect(200).json();
    let images = |object: &Value| {
        let all = object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        all.iter().map(|c| c["image"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut sorted = images(&patched);
    sorted.sort();
    assert_eq!(sorted, ["i", "new"], "lists are merged by name");
    let merged = cluster.patch(&path, "merge-patch", containers).await.expect(200).json();
    assert_eq!(images(&merged), ["new"], "lists are replaced");
    let operations = json!([
        {"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/replicas", "value": 2},
    ]);
    let replaced = cluster.patch(&path, "json-patch", operations.clone()).await.expect(200).json();
    assert_eq!(replaced["spec"]["replicas"], 2);
    cluster.patch(&path, "json-patch", operations).await.expect(422);
    let stale = json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 9}});
    cluster.patch(&path, "merge-patch", stale).await.expect(409);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let cluster = Cluster::new().await;
    let dry = |path: &str| format!("{path}?dryRun=All");
    cluster.post(&dry(MAPS), json!({"metadata": {"name": "a"}})).await.expect(201);
    cluster.get(&format!("{MAPS}/a")).await.expect(404);
    let made = cluster.post(MAPS, json!({"metadata": {"name": "a"}})).await.expect(201).json();
    cluster.post(&dry(MAPS), json!({"metadata": {"name": "a"}})).await.expect(409);
    let path = format!("{MAPS}/a");
    let patched =
        cluster.patch(&dry(&path), "merge-patch", json!({"data": {"x": "1"}})).await.expect(200).json();
    assert_eq!(patched["data"]["x"], "1");
    cluster.delete(&dry(&path)).await.expect(200);
    assert_eq!(cluster.get(&path).await.expect(200).json(), made);
}

#[tokio::test]
async fn yaml_and_protobuf_bodies_mean_the_same_as_json() {
    let cluster = Cluster::new().await;
    let yaml = "metadata:\n  name: a\ndata:\n  x: \"1\"\n";
    let made =
        cluster.call(Identity::admin(), request("POST", MAPS, "application/yaml", yaml)).await.expect(201);
    assert_eq!(made.json()["data"]["x"], "1");
    // A ConfigMap named b with data x: "1".
    let protobuf = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x0d\n\x03\n\x01b\x12\x06\n\x01x\x12\x011";
    let mut request = request("POST", MAPS, "application/vnd.kubernetes.protobuf", "");
    *request.body_mut() = http_body_util::Full::new(bytes::Bytes::from_static(protobuf));
    let made = cluster.call(Identity::admin(), request).await.expect(201).json();
    assert_eq!((&made["metadata"]["name"], &made["data"]["x"]), (&json!("b"), &json!("1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_increment_of_many_concurrent_writers_is_lost() {
    let cluster = std::sync::Arc::new(Cluster::new().await);
    cluster.post(MAPS, json!({"metadata": {"name": "n"}, "data": {"count": "0"}})).await.expect(201);
    let path = format!("{MAPS}/n");
    let writers = (0..8).map(|_| {
        let (cluster, path) = (cluster.clone(), path.clone());
        tokio::spawn(async move {
            let mut written = 0;
            while written < 20 {
                let mut object = cluster.get(&path).await.expect(200).json();
                let count: u32 = object["data"]["count"].as_str().unwrap().parse().unwrap();
                object["data"]["count"] = json!((count + 1).to_string());
                match cluster.put(&path, &object).await.code {
                    200 => written += 1,
                    code => assert_eq!(code, 409),
                }
            }
        })
    });
    futures::future::try_join_all(writers).await.unwrap();
    assert_eq!(cluster.get(&path).await.json()["data"]["count"], "160");
    // Patches carry no version: each is tried again until it is in.
    let patches = (0..40).map(|n| {
        let (cluster, path) = (cluster.clone(), path.clone());
        tokio::spawn(async move {
            let key = format!("k{n}");
            cluster.patch(&path, "merge-patch", json!({"data": {key: "x"}})).await.expect(200);
        })
    });
    futures::future::try_join_all(patches).await.unwrap();
    assert_eq!(cluster.get(&path).await.json()["data"].as_object().unwrap().len(), 41);
}

#[tokio::test]
async fn a_put_of_a_missing_lease_creates_it() {
    let cluster = Cluster::new().await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/a";
    cluster.put(path, &json!({"metadata": {"name": "a"}, "spec": {}})).await.expect(201);
    let held = json!({"metadata": {"name": "a"}, "spec": {"holderIdentity": "x"}});
    let refused = cluster.put(path, &held).await.expect(422);
    assert_eq!(
        refused.message(),
        "Lease.coordination.k8s.io \"a\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
    );
}

#[tokio::test]
async fn events_and_autoscalers_are_the_same_object_in_both_of_their_groups() {
    let cluster = Cluster::new().await;
    let event = json!({
        "metadata": {"name": "e"}, "reason": "Because", "message": "text", "type": "Normal",
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
    });
    cluster.post("/api/v1/namespaces/default/events", event).await.expect(201);
    let seen = cluster.get("/apis/events.k8s.io/v1/namespaces/default/events/e").await.expect(200).json();
    assert_eq!((&seen["apiVersion"], &seen["note"]), (&json!("events.k8s.io/v1"), &json!("text")));
    let scaler = json!({
        "metadata": {"name": "h"},
        "spec": {
            "maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        },
    });
    let path = "namespaces/default/horizontalpodautoscalers";
    cluster.post(&format!("/apis/autoscaling/v1/{path}"), scaler).await.expect(201);
    let list = cluster.get(&format!("/apis/autoscaling/v2/{path}")).await.expect(200).json();
    assert_eq!(list["items"][0]["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);
}
