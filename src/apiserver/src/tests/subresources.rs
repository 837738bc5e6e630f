//! Scale, binding, eviction, tokens; and what admission adds to pods.

use serde_json::{Value, json};

use super::support::{Cluster, request};
use crate::Identity;

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test]
async fn a_pod_gets_its_account_token_priority_and_tolerations() {
    let cluster = Cluster::new().await;
    let refused = cluster.post(PODS, pod("a")).await.expect(403).message();
    assert_eq!(
        refused,
        "pods \"a\" is forbidden: error looking up service account default/default: serviceaccount \"default\" not found"
    );
    cluster.default_account("default").await;
    let made = cluster.post(PODS, pod("a")).await.expect(201).json();
    let spec = &made["spec"];
    assert_eq!((&spec["serviceAccountName"], &spec["priority"]), (&json!("default"), &json!(0)));
    assert_eq!(spec["preemptionPolicy"], "PreemptLowerPriority");
    let keys: Vec<&str> =
        spec["tolerations"].as_array().unwrap().iter().map(|t| t["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
    let volume = &spec["volumes"][0];
    assert!(volume["name"].as_str().unwrap().starts_with("kube-api-access-"));
    let sources = volume["projected"]["sources"].as_array().unwrap();
    assert_eq!(sources[0]["serviceAccountToken"], json!({"expirationSeconds": 3607, "path": "token"}));
    assert_eq!(sources[1]["configMap"]["name"], "kube-root-ca.crt");
    let mount = &spec["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!((&mount["name"], &mount["readOnly"]), (&volume["name"], &json!(true)));

    let mut critical = pod("b");
    critical["spec"]["priorityClassName"] = json!("system-node-critical");
    critical["spec"]["automountServiceAccountToken"] = json!(false);
    let made = cluster.post(PODS, critical).await.expect(201).json();
    assert_eq!(made["spec"]["priority"], 2_000_001_000);
    assert!(made["spec"].get("volumes").is_none());
    let mut unknown = pod("c");
    unknown["spec"]["priorityClassName"] = json!("none");
    let message = cluster.post(PODS, unknown).await.expect(403).message();
    assert!(message.ends_with("no PriorityClass with name none was found"), "{message}");
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let cluster = Cluster::new().await;
    cluster.default_account("default").await;
    cluster.post(PODS, pod("a")).await.expect(201);
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}});
    let scheduler = || Identity::new("system:kube-scheduler", []);
    let path = format!("{PODS}/a/binding");
    let bound =
        cluster.call(scheduler(), request("POST", &path, "", &binding.to_string())).await.expect(201).json();
    assert_eq!((&bound["kind"], &bound["status"]), (&json!("Status"), &json!("Success")));
    let seen = cluster.get(&format!("{PODS}/a")).await.json();
    assert_eq!(seen["spec"]["nodeName"], "n");
    let scheduled =
        seen["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "PodScheduled");
    assert_eq!(scheduled.unwrap()["status"], "True");
    let again = cluster.post("/api/v1/namespaces/default/bindings", binding).await.expect(409).message();
    assert!(again.ends_with("pod a is already assigned to node \"n\""), "{again}");
}

#[tokio::test]
async fn a_scale_is_read_written_and_patched() {
    let cluster = Cluster::new().await;
    let deployment = json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    let all = "/apis/apps/v1/namespaces/default/deployments";
    cluster.post(all, deployment).await.expect(201);
    let path = format!("{all}/web/scale");
    let mut scale = cluster.get(&path).await.expect(200).json();
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(2)));
    assert_eq!(scale["status"]["selector"], "app=web");
    scale["spec"]["replicas"] = json!(5);
    let written = cluster.put(&path, &scale).await.expect(200).json();
    assert_eq!(written["spec"]["replicas"], 5);
    cluster.put(&path, &scale).await.expect(409);
    let patched =
        cluster.patch(&path, "merge-patch", json!({"spec": {"replicas": 0}})).await.expect(200).json();
    assert_eq!(patched["spec"].get("replicas").unwrap_or(&json!(0)), &json!(0));
    let seen = cluster.get(&format!("{all}/web")).await.json();
    assert_eq!((&seen["spec"]["replicas"], &seen["metadata"]["generation"]), (&json!(0), &json!(3)));
    cluster.patch(&path, "merge-patch", json!({"spec": {"replicas": -1}})).await.expect(422);
}

#[tokio::test]
async fn an_eviction_respects_the_disruption_budget() {
    let cluster = Cluster::new().await;
    cluster.default_account("default").await;
    for name in ["a", "b"] {
        cluster.post(PODS, pod(name)).await.expect(201);
        let status =
            json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        cluster.patch(&format!("{PODS}/{name}/status"), "merge-patch", status).await.expect(200);
    }
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "p"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    cluster.post(budgets, budget).await.expect(201);
    let evict = async |name: &str| {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
        cluster.post(&format!("{PODS}/{name}/eviction"), eviction).await
    };
    let waiting = evict("a").await.expect(429);
    assert_eq!(waiting.message(), "Cannot evict pod as it would violate the pod's disruption budget.");
    let status = json!({"status": {
        "observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2,
    }});
    cluster.patch(&format!("{budgets}/p/status"), "merge-patch", status).await.expect(200);
    evict("a").await.expect(201);
    cluster.get(&format!("{PODS}/a")).await.expect(404);
    let refused = evict("b").await.expect(429);
    assert_eq!(
        refused.json()["details"]["causes"][0]["message"],
        "The disruption budget p needs 1 healthy pods and has 2 currently"
    );
    cluster.get(&format!("{PODS}/b")).await.expect(200);
    let seen = cluster.get(&format!("{budgets}/p")).await.json();
    assert!(seen["status"]["disruptedPods"].get("a").is_some());
}

#[tokio::test]
async fn a_token_is_made_and_reviewed() {
    let cluster = Cluster::new().await;
    cluster.default_account("default").await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let made = cluster.post(path, json!({"spec": {"expirationSeconds": 600}})).await.expect(201).json();
    assert_eq!(made["kind"], "TokenRequest");
    let token = made["status"]["token"].as_str().unwrap();
    assert!(made["status"]["expirationTimestamp"].is_string());
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let review = cluster.post(reviews, json!({"spec": {"token": token}})).await.expect(201).json();
    assert_eq!(review["status"]["authenticated"], true);
    assert_eq!(review["status"]["user"]["username"], "system:serviceaccount:default:default");
    let review = cluster.post(reviews, json!({"spec": {"token": "x"}})).await.expect(201).json();
    assert!(review["status"].get("authenticated").is_none_or(|a| a == false));
    let short = cluster.post(path, json!({"spec": {"expirationSeconds": 5}})).await.expect(422).message();
    assert!(short.ends_with("may not specify a duration less than 10 minutes"), "{short}");
}
