//! kubectl's own commands against the server: discovery, tables, apply, edit, describe, events.

use crate::shared::{namespace, shared};
use copepod_test_support::images::{BUSYBOX, SERVER};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn the_server_tells_its_version_and_health() {
    let kubectl = shared().kubectl();
    let version = kubectl.ok(&["version", "-o", "json"]);
    let version: serde_json::Value = serde_json::from_str(&version).expect("JSON");
    let server = &version["serverVersion"];
    assert_eq!((&server["major"], &server["minor"]), (&"1".into(), &"36".into()), "{server}");
    assert!(server["gitVersion"].as_str().is_some_and(|version| version.starts_with("v1.36.")), "{server}");
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(kubectl.ok(&["get", "--raw", path]), "ok", "{path}");
    }
    kubectl.run(&["get", "--raw", "/readyz?verbose"]).prints("[+]ping ok");
    let metrics = kubectl.ok(&["get", "--raw", "/metrics"]);
    assert!(metrics.contains("apiserver_request_total"), "{metrics}");
    kubectl.run(&["cluster-info"]).prints("is running at");
    kubectl.run(&["api-versions"]).prints("apps/v1");
    let short = kubectl.ok(&["api-resources"]);
    for text in ["configmaps", "deploy ", "po ", "svc ", "ns ", "cm ", "sa ", "no ", "rs "] {
        assert!(short.contains(text), "{text} is missing in\n{short}");
    }
}

#[test]
fn tables_have_the_columns_users_know() {
    let namespace = namespace("tables");
    namespace.ok(&["create", "deployment", "web", "--image", SERVER]);
    namespace.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let header = |args: &[&str]| {
        let mut all = vec!["get"];
        all.extend(args);
        let table = namespace.ok(&all);
        table
            .lines()
            .next()
            .unwrap_or_default()
            .split("  ")
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(",")
    };
    for (kind, columns) in [
        ("pods", "NAME,READY,STATUS,RESTARTS,AGE"),
        ("deployments", "NAME,READY,UP-TO-DATE,AVAILABLE,AGE"),
        ("replicasets", "NAME,DESIRED,CURRENT,READY,AGE"),
        ("configmaps", "NAME,DATA,AGE"),
        ("serviceaccounts", "NAME,SECRETS,AGE"),
        ("nodes", "NAME,STATUS,ROLES,AGE,VERSION"),
        ("namespaces", "NAME,STATUS,AGE"),
    ] {
        assert_eq!(header(&[kind]), columns, "{kind}");
    }
    assert_eq!(
        header(&["pods", "-o", "wide"]),
        "NAME,READY,STATUS,RESTARTS,AGE,IP,NODE,NOMINATED NODE,READINESS GATES"
    );
    assert_eq!(
        header(&["deployments", "-o", "wide"]),
        "NAME,READY,UP-TO-DATE,AVAILABLE,AGE,CONTAINERS,IMAGES,SELECTOR"
    );
    assert_eq!(header(&["pods", "--show-labels"]), "NAME,READY,STATUS,RESTARTS,AGE,LABELS");
    assert_eq!(header(&["pods", "-L", "app"]), "NAME,READY,STATUS,RESTARTS,AGE,APP");
    let custom = namespace.ok(&[
        "get",
        "pods",
        "-o",
        "custom-columns=N:.metadata.name,P:.status.phase",
        "--no-headers",
    ]);
    assert!(custom.contains("web-") && custom.contains("Running"), "{custom}");
    namespace.ok(&["get", "pods", "--sort-by=.metadata.name"]);
    namespace.ok(&["get", "all"]);
}

#[test]
fn apply_makes_changes_and_removes_what_it_made() {
    let namespace = namespace("apply");
    let apply = |manifest: &str| namespace.run_with(&["apply", "-f", "-"], manifest).ok();
    let manifest = |data: &str, containers: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata: {data}\n---\napiVersion: apps/v1\nkind: \
             Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 1\n  selector: {{matchLabels: {{app: web}}}}\n  \
             template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      \
             containers: {containers}\n"
        )
    };
    let container = |name: &str| format!("{{name: {name}, image: {BUSYBOX}, command: [sleep, '1000']}}");
    let both = manifest("{a: '1', b: '2'}", &format!("[{}, {}]", container("one"), container("two")));
    let said = apply(&both);
    assert!(
        said.contains("configmap/settings created") && said.contains("deployment.apps/web created"),
        "{said}"
    );
    assert!(apply(&both).lines().all(|line| line.ends_with("unchanged")));
    // Somebody else's additions stay, what apply made and no longer names goes.
    namespace.ok(&["patch", "configmap", "settings", "-p", "{\"data\":{\"foreign\":\"3\"}}"]);
    let said = apply(&manifest("{a: '9'}", &format!("[{}]", container("one"))));
    assert!(said.lines().all(|line| line.ends_with("configured")), "{said}");
    assert_eq!(namespace.field("configmap/settings", "{.data}"), r#"{"a":"9","foreign":"3"}"#);
    assert_eq!(namespace.field("deployment/web", "{.spec.template.spec.containers[*].name}"), "one");
    let diff = namespace.run_with(&["diff", "-f", "-"], &both);
    assert_eq!(diff.status.code(), Some(1), "{diff}");
    assert!(diff.stdout.contains("+  b: \"2\""), "{diff}");
    namespace.run_with(&["delete", "-f", "-"], &both).prints("deleted");
}

#[test]
fn an_object_is_edited_in_an_editor() {
    let namespace = namespace("edit");
    namespace.ok(&["create", "configmap", "a", "--from-literal=colour=red"]);
    let editor = namespace.cluster().sandbox().folder().join("editor.sh");
    fs::write(&editor, "#!/bin/sh\nsed -i 's/colour: red/colour: green/' \"$1\"\n").expect("writable");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).expect("ours");
    let edited = copepod_test_support::Finished::of(
        namespace.command(&["edit", "configmap", "a"]).env("EDITOR", &editor),
        b"",
    );
    edited.prints("edited");
    assert_eq!(namespace.field("configmap/a", "{.data.colour}"), "green");
    let again = copepod_test_support::Finished::of(
        namespace.command(&["edit", "configmap", "a"]).env("EDITOR", "true"),
        b"",
    );
    assert!(again.stderr.contains("no changes made") || again.stdout.contains("no changes made"), "{again}");
}

#[test]
fn describe_tells_the_story_of_a_pod() {
    let namespace = namespace("describe");
    namespace.server("a", &["serve"]);
    let text = namespace.ok(&["describe", "pod", "a"]);
    for part in [
        "Running",
        "IP:",
        "containerd://",
        "Restart Count:  0",
        "QoS Class:",
        "Events:",
        "Successfully assigned",
        "Pulled",
        "Started",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    namespace.ok(&["create", "deployment", "web", "--image", SERVER]);
    namespace.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let text = namespace.ok(&["describe", "deployment", "web"]);
    for part in ["1 desired | 1 updated | 1 total | 1 available", "ScalingReplicaSet", "NewReplicaSet:"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn events_are_listed_and_filtered() {
    let namespace = namespace("events");
    namespace.server("a", &["serve"]);
    namespace.server("b", &["serve"]);
    let mine = namespace.ok(&["events", "--for", "pod/a"]);
    assert!(mine.contains("Started") && !mine.contains("pod/b"), "{mine}");
    let sorted = namespace.ok(&["get", "events", "--sort-by=.metadata.creationTimestamp"]);
    assert!(sorted.starts_with("LAST SEEN"), "{sorted}");
    assert_eq!(namespace.text(&["events", "--types=Warning"]), "");
    namespace.run(&["get", "events.events.k8s.io"]).prints("Started");
}

#[test]
fn labels_and_annotations_are_set_and_removed() {
    let namespace = namespace("labels");
    namespace.ok(&["create", "configmap", "a"]);
    namespace.ok(&["label", "configmap", "a", "x=1"]);
    namespace.run(&["label", "configmap", "a", "x=2"]).fails_with("already has a value");
    namespace.ok(&["label", "configmap", "a", "x=2", "--overwrite"]);
    namespace.ok(&["annotate", "configmap", "a", "n=some text"]);
    assert_eq!(
        namespace.field("configmap/a", "{.metadata.labels.x} {.metadata.annotations.n}"),
        "2 some text"
    );
    namespace.ok(&["label", "configmap", "a", "x-"]);
    namespace.ok(&["annotate", "configmap", "a", "n-"]);
    assert_eq!(namespace.field("configmap/a", "{.metadata.labels}{.metadata.annotations}"), "");
    namespace.run(&["label", "configmap", "a", "x=not valid"]).fails_with("invalid label value");
}

#[test]
fn expose_and_the_service_accounts_token_work() {
    let namespace = namespace("expose");
    namespace.ok(&["create", "deployment", "web", "--image", SERVER, "--port=8080"]);
    namespace.ok(&["expose", "deployment", "web"]);
    let address = namespace.field("service/web", "{.spec.clusterIP}");
    assert!(address.starts_with("10.43."), "{address}");
    let token = namespace.text(&["create", "token", "default"]);
    assert_eq!(token.split('.').count(), 3);
}
