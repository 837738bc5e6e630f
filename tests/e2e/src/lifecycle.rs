//! Starting, stopping, starting again; flags, environment and configuration file; the files that a server leaves.

use crate::shared::SOON;
use copepod_test_support::images::SERVER;
use copepod_test_support::{Cluster, Finished, executable, until};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

fn mode(path: impl AsRef<std::path::Path>) -> u32 {
    fs::metadata(path).expect("the file exists").permissions().mode() & 0o777
}

/// Container id, start and restarts of every container.
fn containers(cluster: &Cluster) -> Vec<(Value, Value, Value)> {
    let pods = cluster.kubectl().json(&["pods", "--all-namespaces"]);
    let statuses = pods["items"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|pod| pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default());
    statuses
        .map(|status| {
            let running = &status["state"]["running"]["startedAt"];
            (status["containerID"].clone(), running.clone(), status["restartCount"].clone())
        })
        .collect()
}

#[test]
fn a_stopped_server_leaves_containers_running_and_the_next_adopts_them() {
    let mut cluster = Cluster::builder().start();
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "deployment", "web", "--image", SERVER, "--replicas=2"]);
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    kubectl.ok(&["run", "short", "--image", SERVER, "--restart=Never", "--", "exit", "0"]);
    kubectl.wait("pod/short", "jsonpath={.status.phase}=Succeeded");
    let before = containers(&cluster);
    let address = kubectl.text(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].status.podIP}"]);
    assert_eq!(before.len(), 3);

    let (status, took) = cluster.stop();
    assert!(status.success(), "SIGTERM is an orderly end: {status}\n{}", cluster.log());
    assert!(took < Duration::from_secs(2), "stopping took {took:?}");
    let fetch = format!("curl -s -m 5 http://{address}:8080/hostname");
    cluster.sandbox().shell(&fetch).prints("web-");

    let took = cluster.launch();
    assert!(took < Duration::from_secs(10), "the second start took {took:?}");
    assert_eq!(containers(&cluster), before);
    cluster.sandbox().shell(&fetch).prints("web-");
    let kubectl = cluster.kubectl();
    kubectl.ok(&["logs", "deployment/web"]);
    kubectl.ok(&["exec", "deployment/web", "--", "true"]);
    // What ended while nobody looked is noticed as well.
    let running = before.iter().find(|(_, started, _)| !started.is_null()).expect("one that runs");
    let victim = running.0.as_str().expect("an id").trim_start_matches("containerd://").to_owned();
    let tasks = cluster.ctr("task ls").ok();
    let task = tasks.lines().find(|line| line.starts_with(&victim)).expect("its task");
    let pid = task.split_whitespace().nth(1).expect("a process id").to_owned();
    cluster.stop();
    cluster.sandbox().shell(&format!("kill -KILL {pid}")).ok();
    cluster.launch();
    let kubectl = cluster.kubectl();
    until("the killed container is started again", SOON, || {
        containers(&cluster).iter().any(|(_, _, restarts)| restarts == 1)
    });
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
}

#[test]
fn secrets_on_disk_belong_to_root_alone() {
    let cluster = crate::shared::shared();
    assert_eq!(mode(cluster.kubeconfig()), 0o600);
    let data = cluster.data_dir();
    assert_eq!(mode(data.join("server/token")), 0o600);
    let token = fs::read_to_string(data.join("server/token")).expect("a token");
    assert!(token.trim().len() >= 32, "{} characters", token.trim().len());
    let listing = Finished::of(
        Command::new("find").arg(data.join("server")).args(["-type", "f", "-perm", "/o=rwx"]),
        b"",
    );
    let open: Vec<String> =
        listing.ok().lines().filter(|path| path.ends_with(".key")).map(str::to_owned).collect();
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn flags_environment_and_file_set_the_same_things() {
    let cluster = Cluster::builder()
        .without_images()
        .config("node-label: [from=file, place=lab]\nwrite-kubeconfig-mode: \"0640\"\n")
        .env("COPEPOD_HTTPS_LISTEN_PORT", "7443")
        .env("COPEPOD_NODE_NAME", "from-environment")
        .arg("--node-name=from-flag")
        .arg("--node-taint=who=me:PreferNoSchedule")
        .arg("--tls-san=api.example.test")
        .start();
    assert_eq!(mode(cluster.kubeconfig()), 0o640);
    let kubectl = cluster.kubectl();
    assert!(kubectl.ok(&["config", "view"]).contains("https://127.0.0.1:7443"));
    let node = kubectl.json(&["node/from-flag"]);
    assert_eq!(node["metadata"]["labels"]["from"], "file");
    assert_eq!(node["metadata"]["labels"]["place"], "lab");
    let taints = node["spec"]["taints"].as_array().expect("taints");
    assert!(
        taints.iter().any(|taint| taint["key"] == "who" && taint["effect"] == "PreferNoSchedule"),
        "{taints:?}"
    );
    let named = kubectl.run(&[
        "--server=https://127.0.0.1:7443",
        "--tls-server-name=api.example.test",
        "get",
        "nodes",
    ]);
    named.prints("from-flag");
}

#[test]
fn help_explains_every_flag() {
    let help = Finished::of(Command::new(executable()).args(["server", "--help"]), b"").ok();
    for flag in [
        "--token",
        "--node-name",
        "--node-ip",
        "--node-label",
        "--node-taint",
        "--cluster-cidr",
        "--service-cidr",
        "--cluster-dns",
        "--cluster-domain",
        "--tls-san",
        "--disable",
        "--datastore-endpoint",
        "--write-kubeconfig",
        "--write-kubeconfig-mode",
        "--data-dir",
        "--config",
        "--disable-agent",
        "--container-runtime-endpoint",
    ] {
        assert!(help.contains(flag), "{flag} is missing in\n{help}");
    }
    Finished::of(Command::new(executable()).arg("--version"), b"").prints("v1.36");
}

#[test]
fn a_server_without_agent_has_an_api_and_no_node() {
    let cluster = Cluster::builder().without_agent().start();
    let kubectl = cluster.kubectl();
    assert_eq!(kubectl.text(&["get", "nodes", "-o", "name"]), "");
    kubectl.ok(&["create", "configmap", "a"]);
    kubectl.ok(&["create", "deployment", "web", "--image", SERVER]);
    kubectl.wait("deployment/web", "jsonpath={.status.unavailableReplicas}=1");
    let (status, took) = { cluster }.stop();
    assert!(status.success() && took < Duration::from_secs(2), "{status}, {took:?}");
}

#[test]
fn an_own_containerd_can_be_brought_along() {
    let cluster = Cluster::builder()
        .without_images()
        .arg("--container-runtime-endpoint=unix:///run/own/containerd.sock")
        .prepare();
    let sandbox = cluster.sandbox();
    let config = "version = 2\nroot = \"/run/own/root\"\nstate = \"/run/own/state\"\n[grpc]\naddress = \
                  \"/run/own/containerd.sock\"\n";
    fs::write(sandbox.folder().join("containerd.toml"), config).expect("writable");
    let mut own = sandbox.command("containerd");
    own.args(["--config", "containerd.toml"]);
    let mut own = copepod_test_support::Running::start(&mut own);
    own.line(SOON, "containerd successfully booted");

    let mut cluster = cluster;
    cluster.launch();
    let node = format!("node/{}", cluster.node());
    assert!(
        cluster
            .kubectl()
            .field(&node, "{.status.nodeInfo.containerRuntimeVersion}")
            .starts_with("containerd://")
    );
    let children = cluster.sandbox().shell("ls /run/copepod/containerd/containerd.sock");
    assert!(!children.status.success(), "a second containerd runs: {children}");
    cluster.stop();
    assert!(
        cluster.sandbox().shell("ctr -a /run/own/containerd.sock version").status.success(),
        "ours to stop, not to kill"
    );
}
