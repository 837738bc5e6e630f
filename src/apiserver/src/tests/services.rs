//! Addresses and ports of Services.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::support::Cluster;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, kind: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_creates_never_share_an_address_or_a_port() {
    let cluster = Arc::new(Cluster::new().await);
    let creates = (0..40).map(|n| {
        let cluster = cluster.clone();
        tokio::spawn(async move {
            let made = cluster.post(SERVICES, service(&format!("s{n}"), "NodePort")).await.expect(201).json();
            (made["spec"]["clusterIP"].to_string(), made["spec"]["ports"][0]["nodePort"].as_i64().unwrap())
        })
    });
    let made = futures::future::try_join_all(creates).await.unwrap();
    let addresses: HashSet<_> = made.iter().map(|(ip, _)| ip).collect();
    let ports: HashSet<_> = made.iter().map(|(_, port)| port).collect();
    assert_eq!((addresses.len(), ports.len()), (40, 40));
    assert!(ports.iter().all(|port| (30000..=32767).contains(*port)));
}

#[tokio::test]
async fn what_is_chosen_must_be_free_and_in_range_and_is_free_again_after_the_deletion() {
    let cluster = Cluster::new().await;
    let mut chosen = service("a", "NodePort");
    chosen["spec"]["clusterIP"] = json!("10.43.7.7");
    chosen["spec"]["ports"][0]["nodePort"] = json!(30123);
    let made = cluster.post(SERVICES, chosen.clone()).await.expect(201).json();
    assert_eq!(made["spec"]["clusterIPs"], json!(["10.43.7.7"]));
    assert_eq!(made["spec"]["ipFamilies"], json!(["IPv4"]));
    chosen["metadata"]["name"] = json!("b");
    let refused = cluster.post(SERVICES, chosen.clone()).await.expect(422);
    let message = refused.message();
    assert!(
        message.contains("failed to allocate IP 10.43.7.7: provided IP is already allocated"),
        "{message}"
    );
    assert!(
        message.contains("spec.ports[0].nodePort: Invalid value: 30123: provided port is already allocated"),
        "{message}"
    );
    let mut outside = service("c", "ClusterIP");
    outside["spec"]["clusterIP"] = json!("192.0.2.9");
    let message = cluster.post(SERVICES, outside).await.expect(422).message();
    assert!(
        message.contains("is not in the valid range. The range of valid IPs is 10.43.0.0/16"),
        "{message}"
    );
    cluster.delete(&format!("{SERVICES}/a")).await.expect(200);
    cluster.post(SERVICES, chosen).await.expect(201);
}

#[tokio::test]
async fn an_update_keeps_what_was_allocated_and_a_change_of_type_gives_it_back() {
    let cluster = Cluster::new().await;
    let made = cluster.post(SERVICES, service("a", "NodePort")).await.expect(201).json();
    let path = format!("{SERVICES}/a");
    let mut without = service("a", "NodePort");
    without["spec"]["selector"] = json!({"x": "y"});
    let kept = cluster.put(&path, &without).await.expect(200).json();
    assert_eq!(kept["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    assert_eq!(kept["spec"]["ports"][0]["nodePort"], made["spec"]["ports"][0]["nodePort"]);
    let plain =
        cluster.patch(&path, "merge-patch", json!({"spec": {"type": "ClusterIP"}})).await.expect(200).json();
    assert!(plain["spec"]["ports"][0].get("nodePort").is_none(), "{plain}");
    assert_eq!(plain["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    let mut headless = service("h", "ClusterIP");
    headless["spec"]["clusterIP"] = json!("None");
    let headless = cluster.post(SERVICES, headless).await.expect(201).json();
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
}
