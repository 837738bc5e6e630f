//! Deployments and ReplicaSets: rolling update, revisions, undo, scale, and who goes with whom.

use crate::shared::namespace;
use copepod_test_support::Namespace;
use copepod_test_support::images::{BUSYBOX, SERVER};

#[track_caller]
fn deploy(namespace: &Namespace<'_>, replicas: u32) {
    namespace.ok(&["create", "deployment", "web", "--image", SERVER, &format!("--replicas={replicas}")]);
    rolled_out(namespace);
}

#[track_caller]
fn rolled_out(namespace: &Namespace<'_>) {
    namespace
        .run(&["rollout", "status", "deployment/web", "--timeout=90s"])
        .prints("successfully rolled out");
}

#[test]
fn a_deployment_is_rolled_out_and_scaled() {
    let namespace = namespace("deploy");
    deploy(&namespace, 2);
    let table = namespace.ok(&["get", "deployment", "web"]);
    assert!(table.contains("2/2"), "{table}");
    assert_eq!(namespace.json(&["pods"])["items"].as_array().map(Vec::len), Some(2));

    namespace.run(&["scale", "deployment/web", "--replicas=4"]).prints("scaled");
    rolled_out(&namespace);
    namespace
        .run(&["scale", "deployment/web", "--replicas=1", "--current-replicas=3"])
        .fails_with("Expected replicas to be 3");
    namespace.ok(&["scale", "deployment/web", "--replicas=1"]);
    namespace.wait("deployment/web", "jsonpath={.status.replicas}=1");
    namespace.ok(&["scale", "deployment/web", "--replicas=0"]);
    namespace.wait("pods", "delete");
}

#[test]
fn an_update_rolls_and_can_be_undone() {
    let namespace = namespace("rollout");
    deploy(&namespace, 3);
    namespace.ok(&["set", "env", "deployment/web", "COLOUR=green"]);
    namespace.ok(&["annotate", "deployment/web", "kubernetes.io/change-cause=green it is"]);
    rolled_out(&namespace);
    let colour = "{.spec.template.spec.containers[0].env[0].value}";
    assert_eq!(namespace.field("deployment/web", colour), "green");
    let sets = namespace.json(&["replicasets"]);
    assert_eq!(sets["items"].as_array().map(Vec::len), Some(2));
    let history = namespace.ok(&["rollout", "history", "deployment/web"]);
    assert!(
        history.contains("green it is") && history.contains("\n1 ") && history.contains("\n2 "),
        "{history}"
    );
    namespace.run(&["rollout", "history", "deployment/web", "--revision=2"]).prints("COLOUR:\tgreen");

    namespace.run(&["rollout", "undo", "deployment/web"]).prints("rolled back");
    rolled_out(&namespace);
    assert_eq!(namespace.field("deployment/web", colour), "");
    let revision = r"{.metadata.annotations.deployment\.kubernetes\.io/revision}";
    assert_eq!(namespace.field("deployment/web", revision), "3");
    // The old set is used again instead of a third one.
    assert_eq!(namespace.json(&["replicasets"])["items"].as_array().map(Vec::len), Some(2));

    namespace.ok(&["rollout", "restart", "deployment/web"]);
    rolled_out(&namespace);
    namespace.ok(&["rollout", "undo", "deployment/web", "--to-revision=2"]);
    rolled_out(&namespace);
    assert_eq!(namespace.field("deployment/web", colour), "green");
}

#[test]
fn a_rollout_that_cannot_succeed_keeps_the_old_pods() {
    let namespace = namespace("stuck");
    deploy(&namespace, 2);
    namespace.ok(&["patch", "deployment/web", "-p", "{\"spec\":{\"progressDeadlineSeconds\":3}}"]);
    namespace.ok(&["set", "image", "deployment/web", "server=copepod.io/test/missing:1"]);
    namespace
        .run(&["rollout", "status", "deployment/web", "--timeout=60s"])
        .fails_with("exceeded its progress deadline");
    assert_eq!(namespace.field("deployment/web", "{.status.availableReplicas}"), "2");
    namespace.ok(&["rollout", "pause", "deployment/web"]);
    namespace.run(&["rollout", "undo", "deployment/web"]).fails_with("paused");
    namespace.ok(&["rollout", "resume", "deployment/web"]);
    namespace.ok(&["rollout", "undo", "deployment/web"]);
    rolled_out(&namespace);
}

#[test]
fn recreate_never_runs_old_and_new_together() {
    let namespace = namespace("recreate");
    let manifest = |text: &str| {
        format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web}}, spec: {{replicas: 2, \
             strategy: {{type: Recreate}}, selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: \
             {{app: web}}}}, spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: main, image: {BUSYBOX}, \
             command: [sh, -c, 'echo {text}; exec sleep 1000']}}]}}}}}}}}"
        )
    };
    namespace.apply(&manifest("one"));
    rolled_out(&namespace);
    let mut pods = namespace.start(&[
        "get",
        "pods",
        "--watch",
        "--output-watch-events",
        "-o",
        "jsonpath={.type} {.object.metadata.name} {.object.spec.containers[0].command[2]}{\"\\n\"}",
    ]);
    pods.line(crate::shared::SOON, "one");
    pods.line(crate::shared::SOON, "one");
    namespace.apply(&manifest("two"));
    rolled_out(&namespace);
    let mut gone = 0;
    loop {
        let line = pods
            .line_where(crate::shared::SOON, |line| line.starts_with("DELETED") || line.starts_with("ADDED"));
        if line.starts_with("ADDED") {
            break;
        }
        gone += 1;
    }
    assert_eq!(gone, 2, "a new pod came before the old ones were gone");
}

#[test]
fn deletion_takes_dependents_along_or_leaves_them() {
    let namespace = namespace("cascade");
    deploy(&namespace, 1);
    namespace.ok(&["delete", "deployment", "web", "--cascade=orphan"]);
    let set = namespace.text(&["get", "replicasets", "-o", "name"]);
    assert!(set.starts_with("replicaset.apps/web-"), "{set}");
    assert_eq!(namespace.field(&set, "{.metadata.ownerReferences}"), "");
    // A deployment with the same selector takes the orphan over.
    deploy(&namespace, 1);
    assert_eq!(namespace.text(&["get", "replicasets", "-o", "name"]), set);
    assert_eq!(namespace.field(&set, "{.metadata.ownerReferences[0].name}"), "web");

    namespace.ok(&["delete", "deployment", "web", "--cascade=foreground"]);
    assert_eq!(namespace.text(&["get", "replicasets,pods", "-o", "name"]), "");

    deploy(&namespace, 1);
    namespace.ok(&["delete", "deployment", "web"]);
    namespace.wait("replicasets,pods", "delete");
}

#[test]
fn a_replica_set_replaces_what_it_loses_and_releases_what_leaves() {
    let namespace = namespace("replicas");
    deploy(&namespace, 2);
    let pods = namespace.text(&["get", "pods", "-o", "name"]);
    let names: Vec<&str> = pods.lines().collect();
    namespace.ok(&["delete", names[0], "--wait=false"]);
    namespace.ok(&["label", names[1], "app=other", "--overwrite"]);
    rolled_out(&namespace);
    namespace.wait("deployment/web", "jsonpath={.status.readyReplicas}=2");
    assert_eq!(namespace.field(names[1], "{.metadata.ownerReferences}"), "");
    let members = namespace.text(&["get", "pods", "-l", "app=web", "-o", "name"]);
    assert!(!members.contains(names[1]), "{members}");
}
