//! The node: what it says about itself, and taking it out of service.

use crate::shared::{SOON, shared};
use copepod_test_support::images::SERVER;
use copepod_test_support::{Cluster, until};

#[test]
fn the_node_describes_its_machine() {
    let cluster = shared();
    let kubectl = cluster.kubectl();
    let node = kubectl.json(&["node", cluster.node()]);
    let info = &node["status"]["nodeInfo"];
    let host = |command: &str| cluster.sandbox().shell(command).ok().trim().to_owned();
    assert_eq!(info["kernelVersion"], host("uname -r"));
    assert_eq!(info["operatingSystem"], "linux");
    let version = host("containerd --version | cut -d' ' -f3");
    let runtime = info["containerRuntimeVersion"].as_str().unwrap_or_default();
    assert_eq!(
        runtime.trim_start_matches("containerd://").trim_start_matches('v').split(['~', '+']).next(),
        version.trim_start_matches('v').split(['~', '+']).next()
    );
    assert!(info["kubeletVersion"].as_str().is_some_and(|version| version.starts_with("v1.36")), "{info}");
    assert_eq!(node["status"]["capacity"]["cpu"], host("nproc"));
    assert_eq!(node["status"]["capacity"]["pods"], "110");
    for (kind, status) in
        [("Ready", "True"), ("MemoryPressure", "False"), ("DiskPressure", "False"), ("PIDPressure", "False")]
    {
        let conditions = node["status"]["conditions"].as_array().expect("conditions");
        assert!(
            conditions.iter().any(|found| found["type"] == kind && found["status"] == status),
            "{kind}: {conditions:?}"
        );
    }
    let addresses = node["status"]["addresses"].as_array().expect("addresses");
    assert!(
        addresses.iter().any(|found| found["type"] == "InternalIP" && found["address"] == "192.168.77.2"),
        "{addresses:?}"
    );
    assert!(
        addresses.iter().any(|found| found["type"] == "Hostname" && found["address"] == cluster.node()),
        "{addresses:?}"
    );
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], cluster.node());
    assert_eq!(node["spec"]["podCIDR"], "10.42.0.0/24");
    let lease = format!("lease/{}", cluster.node());
    let renewed = kubectl.text(&["get", "-n", "kube-node-lease", &lease, "-o", "jsonpath={.spec.renewTime}"]);
    assert!(!renewed.is_empty());
    let table = kubectl.ok(&["get", "nodes", "-o", "wide"]);
    assert!(table.contains("192.168.77.2") && table.contains("containerd://"), "{table}");
    let described = kubectl.ok(&["describe", "node", cluster.node()]);
    for text in ["Allocatable:", "Non-terminated Pods:", "RegisteredNode", "PodCIDR:"] {
        assert!(described.contains(text), "{text} is missing in\n{described}");
    }
}

#[test]
fn a_node_is_cordoned_drained_and_taken_back() {
    let cluster = Cluster::builder().start();
    let kubectl = cluster.kubectl();
    let node = cluster.node();
    kubectl.ok(&["create", "deployment", "web", "--image", SERVER, "--replicas=2"]);
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    kubectl.ok(&["run", "alone", "--image", SERVER]);
    kubectl.wait("pod/alone", "condition=Ready");

    kubectl.run(&["cordon", node]).prints("cordoned");
    kubectl.run(&["get", "node", node]).prints("Ready,SchedulingDisabled");
    let taints = kubectl.field(&format!("node/{node}"), "{.spec.taints[*].key}");
    assert!(taints.contains("node.kubernetes.io/unschedulable"), "{taints}");
    kubectl.run(&["drain", node]).fails_with("cannot delete Pods that declare no controller");
    kubectl.run(&["drain", node, "--force", "--timeout=90s"]).prints("drained");
    // The deployment's pods are there again, and wait.
    until("the deployment has replaced its pods", SOON, || {
        let phases =
            kubectl.text(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.phase}"]);
        phases == "Pending Pending"
    });
    kubectl.run(&["get", "pod", "alone"]).fails_with("not found");
    kubectl.run(&["uncordon", node]).prints("uncordoned");
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);

    // NoExecute drives out what does not tolerate it.
    kubectl.ok(&["taint", "node", node, "who=me:NoExecute"]);
    until("pods are driven out", SOON, || {
        !kubectl.text(&["get", "pods", "-o", "jsonpath={.items[*].status.phase}"]).contains("Running")
    });
    kubectl.ok(&["taint", "node", node, "who-"]);
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
}

#[test]
fn a_node_that_falls_silent_is_not_ready() {
    let cluster = Cluster::builder().start();
    let kubectl = cluster.kubectl();
    // A node whose agent does not exist: it reports nothing.
    kubectl.create("{apiVersion: v1, kind: Node, metadata: {name: ghost}}");
    kubectl.wait("node/ghost", "condition=Ready=Unknown");
    let taints = kubectl.field("node/ghost", "{.spec.taints[*].key}");
    assert!(taints.contains("node.kubernetes.io/unreachable"), "{taints}");
    kubectl.run(&["get", "nodes"]).prints("NotReady");
    kubectl.ok(&["delete", "node", "ghost"]);
}

#[test]
fn a_deleted_node_registers_again() {
    let cluster = Cluster::builder().without_images().start();
    let kubectl = cluster.kubectl();
    kubectl.ok(&["delete", "node", cluster.node()]);
    let mut cluster = cluster;
    cluster.restart();
    let node = format!("node/{}", cluster.node());
    cluster.kubectl().wait(&node, "condition=Ready");
}
