//! Pods reach each other, the host and the world outside.

use crate::shared::{SOON, namespace};
use copepod_test_support::images::{self, SERVER};
use copepod_test_support::{Cluster, Running};

#[test]
fn pods_reach_each_other_and_the_host_by_address() {
    let namespace = namespace("network");
    namespace.server("a", &["serve"]);
    namespace.server("b", &["serve"]);
    let (a, b) = (namespace.field("pod/a", "{.status.podIP}"), namespace.field("pod/b", "{.status.podIP}"));
    assert_ne!(a, b);
    let fetch = |from: &str, address: &str, path: &str| {
        namespace.text(&["exec", from, "--", "/testserver", "get", address, path])
    };
    assert_eq!(fetch("a", &format!("{b}:8080"), "/hostname"), "b");
    // The receiver sees the sender's own address: no translation inside the cluster.
    assert_eq!(fetch("a", &format!("{b}:8080"), "/client"), a);
    assert_eq!(fetch("a", &format!("{a}:8080"), "/hostname"), "a");
    let udp = format!("{b}:8082");
    assert_eq!(namespace.text(&["exec", "a", "--", "/testserver", "udp", &udp, "ping"]), "ping");

    let sandbox = namespace.cluster().sandbox();
    sandbox.shell(&format!("curl -s -m 5 http://{a}:8080/hostname")).prints("a");

    // A pod on the host's network is the host.
    namespace.create(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: host}}, spec: {{hostNetwork: true, \
         terminationGracePeriodSeconds: 1, containers: [{{name: main, image: {SERVER}, \
         args: [serve, '18080', '18081', '18082']}}]}}}}"
    ));
    namespace.wait("pod/host", "condition=Ready");
    let host = namespace.field("pod/host", "{.status.podIP}");
    assert_eq!(host, namespace.field("pod/host", "{.status.hostIP}"));
    assert_eq!(fetch("a", &format!("{host}:18080"), "/hostname"), namespace.cluster().node());
    assert_eq!(fetch("host", &format!("{a}:8080"), "/hostname"), "a");
}

#[test]
fn addresses_are_given_back() {
    let namespace = namespace("addresses");
    let in_use = || {
        let script = "ip -o link show master cni0 | wc -l";
        namespace.cluster().sandbox().shell(script).ok().trim().parse::<u32>().expect("a number")
    };
    namespace.server("a", &["serve"]);
    let address = namespace.field("pod/a", "{.status.podIP}");
    assert!(in_use() >= 1);
    namespace.ok(&["delete", "pod", "a"]);
    let ping = format!("ping -c 1 -W 1 {address}");
    assert!(!namespace.cluster().sandbox().shell(&ping).status.success(), "{address} still answers");
}

#[test]
fn traffic_to_the_world_outside_carries_the_nodes_address() {
    let cluster = Cluster::builder().start();
    let sandbox = cluster.sandbox();
    // The far end of the node's uplink becomes a machine of its own, which knows nothing of pod addresses.
    let script = "echo $$; read go; ip link set lo up; ip addr add 192.168.77.1/24 dev nowhere; ip link set nowhere up; \
                  exec \"$0\" serve";
    let server = images::directory().join("release/testserver");
    let mut outside =
        Running::start(sandbox.command("unshare").args(["--net", "sh", "-c", script]).arg(&server));
    let pid = outside.line_where(SOON, |line| line.trim().parse::<u32>().is_ok());
    sandbox.shell(&format!("ip link set nowhere netns {}", pid.trim())).ok();
    outside.write("go\n");
    outside.line(SOON, "serving");

    let namespace = cluster.namespace("outside");
    namespace.server("a", &["serve"]);
    let seen = namespace.text(&["exec", "a", "--", "/testserver", "get", "192.168.77.1:8080", "/client"]);
    assert_eq!(seen, "192.168.77.2");
}

#[test]
fn packet_filter_rules_are_marked_as_ours() {
    let namespace = namespace("rules");
    namespace.server("a", &["serve"]);
    let rules = namespace.cluster().sandbox().shell("iptables-save").ok();
    let ours = rules.lines().filter(|line| line.starts_with("-A"));
    for rule in ours {
        assert!(rule.contains("COPEPOD-"), "{rule} cannot be found again on removal, in\n{rules}");
    }
}
