use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::*;

fn node(name: &str, cpu: &str, more: Value) -> Arc<Node> {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "disk": "ssd", "gen": "3"}},
        "status": {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "3"}}});
    json_merge(&mut node, more);
    Arc::new(serde_json::from_value(node).unwrap())
}

fn json_merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                json_merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn pod(cpu: &str, more: Value) -> Pod {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
    json_merge(&mut pod, more);
    serde_json::from_value(pod).unwrap()
}

fn cluster(nodes: &[Arc<Node>]) -> Cluster {
    let mut cluster = Cluster::default();
    nodes.iter().for_each(|node| cluster.set_node(node));
    cluster
}

fn decide(pod: &Pod, cluster: &Cluster) -> Plan {
    plan(pod, &Demand::of(pod), cluster)
}

fn refusal(pod: &Pod, cluster: &Cluster) -> String {
    match decide(pod, cluster) {
        Plan::Unschedulable(message) => message,
        Plan::Bind(node) => panic!("bound to {node}"),
    }
}

#[test]
fn without_nodes_the_message_says_so() {
    assert_eq!(refusal(&pod("1", json!({})), &cluster(&[])), "no nodes available to schedule pods");
}

#[test]
fn every_refusal_is_counted_by_its_reason() {
    let cluster = cluster(&[
        node("a", "1", json!({"spec": {"unschedulable": true}})),
        node("b", "1", json!({})),
        node("c", "8", json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}})),
    ]);
    assert_eq!(
        refusal(&pod("2", json!({})), &cluster),
        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), \
         1 node(s) were unschedulable."
    );
}

#[test]
fn a_toleration_lets_a_pod_onto_a_tainted_or_cordoned_node() {
    let tainted = cluster(&[node(
        "a",
        "4",
        json!({"spec": {"unschedulable": true, "taints": [
        {"key": "k", "value": "v", "effect": "NoExecute"}]}}),
    )]);
    let tolerant = pod(
        "1",
        json!({"spec": {"tolerations": [
        {"key": "k", "value": "v"},
        {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]}}),
    );
    assert_eq!(decide(&tolerant, &tainted), Plan::Bind("a".into()));
    let other = pod(
        "1",
        json!({"spec": {"tolerations": [{"key": "k", "value": "w"}, {"operator": "Exists", "key": "x"}]}}),
    );
    assert!(matches!(decide(&other, &tainted), Plan::Unschedulable(_)));
}

#[test]
fn selectors_and_required_affinity_choose_nodes_by_label_and_by_name() {
    let cluster = cluster(&[
        node("a", "4", json!({})),
        node("b", "4", json!({"metadata": {"labels": {"disk": "hdd"}}})),
    ]);
    let selected = pod("1", json!({"spec": {"nodeSelector": {"disk": "hdd"}}}));
    assert_eq!(decide(&selected, &cluster), Plan::Bind("b".into()));
    for (term, expected) in [
        (json!({"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["hdd"]}]}), Some("a")),
        (json!({"matchExpressions": [{"key": "gen", "operator": "Gt", "values": ["3"]}]}), None),
        (json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}), Some("b")),
        (
            json!({"matchExpressions": [{"key": "none", "operator": "DoesNotExist"}, {"key": "disk", "operator": "In", "values": ["hdd"]}]}),
            Some("b"),
        ),
        (json!({}), None),
    ] {
        let pod = pod(
            "1",
            json!({"spec": {"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}}),
        );
        match expected {
            Some(name) => assert_eq!(decide(&pod, &cluster), Plan::Bind(name.into())),
            None => assert!(refusal(&pod, &cluster).contains("didn't match Pod's node affinity/selector")),
        }
    }
}

#[test]
fn preferences_decide_between_nodes_that_fit() {
    let cluster = cluster(&[
        node("a", "4", json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}})),
        node("b", "4", json!({})),
        node("c", "4", json!({"metadata": {"labels": {"zone": "z"}}})),
    ]);
    let liking = pod(
        "1",
        json!({"spec": {"affinity": {"nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 10, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}]}}}}),
    );
    assert_eq!(decide(&liking, &cluster), Plan::Bind("c".into()));
    assert_eq!(decide(&pod("1", json!({})), &cluster), Plan::Bind("b".into()));
}

#[test]
fn an_assumed_pod_takes_its_resources_until_it_is_forgotten() {
    let mut cluster = cluster(&[node("a", "1", json!({}))]);
    let pod = pod("600m", json!({}));
    cluster.assume("first", "a", Demand::of(&pod));
    assert!(refusal(&pod, &cluster).contains("Insufficient cpu"));
    assert!(cluster.forget("first"));
    assert_eq!(decide(&pod, &cluster), Plan::Bind("a".into()));
}

#[test]
fn a_confirmed_pod_is_counted_once_and_is_not_forgotten() {
    let mut cluster = cluster(&[node("a", "1", json!({}))]);
    let pod = pod("600m", json!({}));
    cluster.assume("first", "a", Demand::of(&pod));
    cluster.set_pod("first", "a", Demand::of(&pod));
    assert!(!cluster.forget("first"));
    assert!(refusal(&pod, &cluster).contains("Insufficient cpu"));
    assert!(cluster.remove_pod("first"));
    assert_eq!(decide(&pod, &cluster), Plan::Bind("a".into()));
}

#[test]
fn pods_and_host_ports_are_limited_per_node() {
    let mut cluster = cluster(&[node("a", "4", json!({}))]);
    let with_port = |ip: &str| {
        pod(
            "0",
            json!({"spec": {"containers": [
        {"name": "c", "ports": [{"containerPort": 80, "hostPort": 80, "hostIP": ip}]}]}}),
        )
    };
    cluster.assume("1", "a", Demand::of(&with_port("10.0.0.1")));
    assert_eq!(decide(&with_port("10.0.0.2"), &cluster), Plan::Bind("a".into()));
    assert!(refusal(&with_port(""), &cluster).contains("didn't have free ports"));
    let plain = pod("0", json!({}));
    cluster.assume("2", "a", Demand::of(&plain));
    cluster.assume("3", "a", Demand::of(&plain));
    assert!(refusal(&plain, &cluster).contains("1 Too many pods"));
}

#[test]
fn pods_without_requests_are_spread() {
    let mut cluster = cluster(&[node("a", "4", json!({})), node("b", "4", json!({}))]);
    let plain = pod("0", json!({}));
    cluster.assume("1", "a", Demand::of(&plain));
    assert_eq!(decide(&plain, &cluster), Plan::Bind("b".into()));
}
