//! Every kind: create, get, list, update, the three patches, labels, delete.

use crate::shared::{namespace, shared};
use copepod_test_support::Cluster;
use serde_json::{Value, json};
use std::fs;

const EVERY_KIND: &str = include_str!("kinds.yaml");

/// Kinds that are asked and not stored, or that only a controller of a later time makes useful.
const NOT_STORED: [&str; 8] = [
    "bindings",
    "componentstatuses",
    "tokenreviews.authentication.k8s.io",
    "selfsubjectreviews.authentication.k8s.io",
    "localsubjectaccessreviews.authorization.k8s.io",
    "selfsubjectaccessreviews.authorization.k8s.io",
    "selfsubjectrulesreviews.authorization.k8s.io",
    "subjectaccessreviews.authorization.k8s.io",
];

#[test]
fn every_kind_is_created_read_changed_and_deleted() {
    // A cluster to itself: some of these objects belong to no namespace.
    let cluster = Cluster::builder().without_agent().start();
    let kubectl = cluster.kubectl();
    kubectl.wait("serviceaccount/default", "create");
    // As documents: kubectl checks a List by the OpenAPI v2 document only.
    let (_, items) = EVERY_KIND.split_once("items:\n").expect("a list");
    let documents = format!("\n{items}").replace("\n- {", "\n---\n{");
    fs::write(cluster.sandbox().folder().join("every.yaml"), documents).expect("writable");
    let all = ["-f", "every.yaml"];
    let with = |before: &[&'static str], after: &[&'static str]| {
        let mut args = before.to_vec();
        args.extend(all);
        args.extend(after);
        kubectl.ok(&args)
    };
    let created = with(&["create"], &[]);
    let count = EVERY_KIND.matches("\n- {").count();
    assert_eq!(created.lines().count(), count, "{created}");
    kubectl.run(&["create", "-f", "every.yaml"]).fails_with("already exists");

    let read: Value = serde_json::from_str(&with(&["get"], &["-o", "json"])).expect("JSON");
    let items = read["items"].as_array().expect("a list");
    assert_eq!(items.len(), count);
    for item in items {
        let meta = &item["metadata"];
        assert!(meta["uid"].as_str().is_some_and(|uid| uid.len() == 36), "{item}");
        assert!(meta["creationTimestamp"].is_string() && meta["resourceVersion"].is_string(), "{item}");
    }
    with(&["get"], &["-o", "yaml"]);
    with(&["get"], &["-o", "wide"]);
    with(&["describe"], &[]);
    with(&["label"], &["marked=yes"]);
    with(&["annotate"], &["note=text"]);
    with(&["patch"], &["--type=merge", "-p", r#"{"metadata":{"annotations":{"merge":"1"}}}"#]);
    with(
        &["patch"],
        &["--type=json", "-p", r#"[{"op":"add","path":"/metadata/annotations/json","value":"2"}]"#],
    );
    with(
        &["patch"],
        &["--type=strategic", "-p", r#"{"metadata":{"annotations":{"note":null,"strategic":"3"}}}"#],
    );
    let read: Value = serde_json::from_str(&with(&["get"], &["-o", "json"])).expect("JSON");
    for item in read["items"].as_array().expect("a list") {
        let meta = &item["metadata"];
        let expected = json!({"merge": "1", "json": "2", "strategic": "3"});
        let mut annotations = meta["annotations"].clone();
        annotations
            .as_object_mut()
            .expect("an object")
            .retain(|key, _| expected.get(key).is_some() || key == "note");
        assert_eq!(annotations, expected, "{item}");
        assert_eq!(meta["labels"]["marked"], "yes", "{item}");
    }
    // Every list knows selectors.
    let mut kinds: Vec<String> = kubectl
        .text(&["api-resources", "--verbs=list,create,delete", "-o", "name"])
        .lines()
        .map(str::to_owned)
        .collect();
    kinds.retain(|kind| !kind.starts_with("events"));
    let listed = kubectl.text(&["get", &kinds.join(","), "-A", "-l", "marked=yes", "-o", "name"]);
    assert!(listed.lines().count() >= count - 1, "{listed}");

    // As it was read: what the server added to a pod cannot be taken away. A List is checked by OpenAPI v2 only.
    let read = with(&["get"], &["-o", "json"]);
    kubectl.run_with(&["replace", "--validate=false", "-f", "-"], &read).ok();
    with(&["delete"], &["--wait=false"]);
    for name in listed.lines().filter(|name| !name.starts_with("namespace/")) {
        assert!(!name.is_empty());
    }
    copepod_test_support::until("everything is gone", crate::shared::SOON, || {
        kubectl.text(&["get", &kinds.join(","), "-A", "-l", "marked=yes", "-o", "name"]).is_empty()
    });
}

#[test]
fn the_kinds_file_has_every_kind() {
    let kubectl = shared().kubectl();
    let listed = kubectl.text(&["api-resources", "--no-headers"]);
    let mut missing = Vec::new();
    for line in listed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let kind = words[words.len() - 1];
        let (name, version) = (words[0], words[words.len() - 3]);
        let group = version.split_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
        let known = EVERY_KIND.contains(&format!("kind: {kind},"));
        if !known && !NOT_STORED.contains(&format!("{name}{group}").as_str()) {
            missing.push(line.to_owned());
        }
    }
    // It takes a signed request.
    missing.retain(|line| !line.contains("CertificateSigningRequest"));
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn generated_names_generations_and_uids_are_the_servers() {
    let namespace = namespace("names");
    let path = format!("/apis/apps/v1/namespaces/{}/statefulsets", namespace.name());
    let curl = shared().curl();
    let body = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"generateName": "made-", "uid": "00000000-0000-0000-0000-000000000000", "generation": 9,
                     "resourceVersion": ""},
        "spec": {"replicas": 0, "serviceName": "none", "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
                 "spec": {"containers": [{"name": "a", "image": "none"}]}}},
        "status": {"replicas": 99},
    });
    let made = curl.json("POST", &path, body.to_string());
    assert_eq!(made.code, 201, "{made:?}");
    let made = made.json();
    let name = made["metadata"]["name"].as_str().expect("a name").to_owned();
    assert!(name.starts_with("made-") && name.len() == 10, "{name}");
    assert_eq!(made["metadata"]["generation"], 1);
    assert_ne!(made["metadata"]["uid"], "00000000-0000-0000-0000-000000000000");
    assert!(made["status"]["replicas"].is_null(), "the status is not a client's to create: {made}");

    let object = format!("{path}/{name}");
    let merge = ["Content-Type: application/merge-patch+json"];
    let patch = |path: &str, body: &str| {
        curl.send(&copepod_test_support::Credentials::Admin, "PATCH", path, &merge, body.as_bytes()).json()
    };
    let labelled = patch(&object, r#"{"metadata":{"labels":{"x":"y"}}}"#);
    assert_eq!(labelled["metadata"]["generation"], 1, "labels are no new generation");
    let changed = patch(&object, r#"{"spec":{"minReadySeconds":9},"status":{"replicas":5}}"#);
    assert_eq!(changed["metadata"]["generation"], 2);
    assert_ne!(changed["status"]["replicas"], 5, "the main resource does not write the status");
    let status =
        patch(&format!("{object}/status"), r#"{"spec":{"minReadySeconds":1},"status":{"collisionCount":7}}"#);
    assert_eq!(
        (&status["status"]["collisionCount"], &status["spec"]["minReadySeconds"]),
        (&7.into(), &9.into()),
        "{status}"
    );
    let scale = curl.get(&format!("{object}/scale")).json();
    assert_eq!((&scale["kind"], &scale["status"]["selector"]), (&"Scale".into(), &"a=b".into()), "{scale}");
    let same = patch(&object, r#"{"metadata":{"labels":{"x":"y"}}}"#);
    let before = curl.get(&object).json();
    assert_eq!(
        same["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"],
        "no change, no new version"
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let namespace = namespace("dry");
    let made = namespace.json(&["configmaps"])["items"].as_array().map(Vec::len);
    namespace.run(&["create", "configmap", "a", "--dry-run=server"]).prints("created (server dry run)");
    namespace.run(&["create", "configmap", "Bad", "--dry-run=server"]).fails_with("Invalid value");
    assert_eq!(namespace.json(&["configmaps"])["items"].as_array().map(Vec::len), made);
    namespace.ok(&["create", "configmap", "a"]);
    namespace.ok(&["label", "configmap", "a", "x=y", "--dry-run=server"]);
    namespace.ok(&["delete", "configmap", "a", "--dry-run=server"]);
    assert_eq!(namespace.field("configmap/a", "{.metadata.labels}"), "");
}

#[test]
fn finalizers_hold_an_object_back() {
    let namespace = namespace("finalizers");
    namespace
        .create("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, finalizers: [example.com/hold]}}");
    namespace.ok(&["delete", "configmap", "a", "--wait=false"]);
    assert!(!namespace.field("configmap/a", "{.metadata.deletionTimestamp}").is_empty());
    namespace.ok(&["patch", "configmap", "a", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    namespace.run(&["get", "configmap", "a"]).fails_with("not found");
}

#[test]
fn a_collection_is_deleted_by_selector() {
    let namespace = namespace("collection");
    for (name, label) in [("a", "x=1"), ("b", "x=1"), ("c", "x=2")] {
        namespace.ok(&["create", "configmap", name]);
        namespace.ok(&["label", "configmap", name, label]);
    }
    let path = format!("/api/v1/namespaces/{}/configmaps?labelSelector=x%3D1", namespace.name());
    let answer = shared().curl().json("DELETE", &path, "");
    assert_eq!(answer.code, 200, "{answer:?}");
    assert_eq!(namespace.text(&["get", "configmaps", "-l", "x", "-o", "name"]), "configmap/c");
    namespace.ok(&["delete", "configmaps", "--all"]);
}

#[test]
fn fields_select_objects() {
    let namespace = namespace("fields");
    namespace.server("a", &["serve"]);
    namespace.ok(&["run", "b", "--image=none.example/x", "--image-pull-policy=Never"]);
    let select =
        |selector: &str| namespace.text(&["get", "pods", "--field-selector", selector, "-o", "name"]);
    assert_eq!(select("metadata.name=a"), "pod/a");
    assert_eq!(select("status.phase=Running"), "pod/a");
    assert_eq!(select("status.phase!=Running"), "pod/b");
    assert_eq!(select(&format!("spec.nodeName={},metadata.name!=a", namespace.cluster().node())), "pod/b");
    let sets = ["x in (1,2)", "x notin (1)", "x", "!x", "x=1,y!=2"];
    for selector in sets {
        namespace.ok(&["get", "pods", "-l", selector]);
    }
}
