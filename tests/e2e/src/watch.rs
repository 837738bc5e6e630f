//! Watching: what comes, in which order, and what happens to one that asks for the past.

use crate::shared::{SOON, namespace, shared};

#[test]
fn a_watch_reports_what_happens_in_order() {
    let namespace = namespace("watch");
    namespace.ok(&["create", "configmap", "first"]);
    let mut watch = namespace.start(&[
        "get",
        "configmaps",
        "--watch",
        "--output-watch-events",
        "-l",
        "!foreign",
        "-o",
        "jsonpath={.type} {.object.metadata.name} {.object.data.v}{\"\\n\"}",
    ]);
    watch.line(SOON, "ADDED first");
    namespace.ok(&["create", "configmap", "a", "--from-literal=v=1"]);
    namespace.ok(&["patch", "configmap", "a", "-p", "{\"data\":{\"v\":\"2\"}}"]);
    namespace.ok(&["label", "configmap", "a", "foreign=yes"]);
    namespace.ok(&["label", "configmap", "a", "foreign-"]);
    namespace.ok(&["delete", "configmap", "a"]);
    let mut seen = Vec::new();
    while seen.len() < 5 {
        seen.push(watch.line_where(SOON, |line| line.contains(" a ")));
    }
    // Leaving the selector looks like a deletion, coming back like a creation.
    assert_eq!(seen, ["ADDED a 1", "MODIFIED a 2", "DELETED a 2", "ADDED a 2", "DELETED a 2"]);
}

#[test]
fn a_watch_from_a_version_starts_right_after_it() {
    let namespace = namespace("resume");
    namespace.ok(&["create", "configmap", "a"]);
    let version = namespace.field("configmap/a", "{.metadata.resourceVersion}");
    namespace.ok(&["create", "configmap", "b"]);
    namespace.ok(&["delete", "configmap", "a"]);
    let path = format!(
        "/api/v1/namespaces/{}/configmaps?watch=1&resourceVersion={version}&timeoutSeconds=1&fieldSelector=metadata.name!=kube-root-ca.crt",
        namespace.name()
    );
    let events = namespace.ok(&["get", "--raw", &path]);
    let events: Vec<serde_json::Value> =
        events.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: Vec<String> = events
        .iter()
        .map(|event| format!("{} {}", event["type"], event["object"]["metadata"]["name"]).replace('"', ""))
        .collect();
    assert_eq!(told, ["ADDED b", "DELETED a"]);
    let versions: Vec<u64> = events
        .iter()
        .filter_map(|event| event["object"]["metadata"]["resourceVersion"].as_str()?.parse().ok())
        .collect();
    assert!(versions[0] > version.parse().expect("a number") && versions[1] > versions[0], "{versions:?}");
}

#[test]
fn a_watch_from_a_version_that_is_no_more_is_refused() {
    let answer = shared().curl().get("/api/v1/configmaps?watch=1&resourceVersion=999999999&timeoutSeconds=2");
    // The future: the server waits for it, and says that it is too large when it does not come.
    assert!(answer.code == 200 || answer.code == 504, "{answer:?}");
    let bookmark = shared().curl().get("/api/v1/namespaces/default/configmaps?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1");
    assert!(bookmark.body.contains("k8s.io/initial-events-end") || bookmark.code == 422, "{bookmark:?}");
}

#[test]
fn lists_come_in_pages_of_one_moment() {
    let namespace = namespace("pages");
    for number in 0..7 {
        namespace.ok(&["create", "configmap", &format!("c{number}"), "--from-literal=x=y"]);
    }
    let whole = namespace.text(&["get", "configmaps", "--chunk-size=3", "-o", "name"]);
    assert_eq!(whole.lines().count(), 8, "{whole}");
    let curl = shared().curl();
    let path = format!("/api/v1/namespaces/{}/configmaps?limit=3", namespace.name());
    let first = curl.get(&path).json();
    assert_eq!(first["items"].as_array().map(Vec::len), Some(3));
    assert_eq!(first["metadata"]["remainingItemCount"], 5);
    namespace.ok(&["delete", "configmap", "c6"]);
    let next = first["metadata"]["continue"].as_str().expect("there is more");
    let second = curl.get(&format!("{path}&continue={next}")).json();
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let next = second["metadata"]["continue"].as_str().expect("there is more");
    let last = curl.get(&format!("{path}&continue={next}")).json();
    let names: Vec<&str> = last["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect();
    assert_eq!(names.last(), Some(&"kube-root-ca.crt"), "{names:?}");
    assert!(names.contains(&"c6"), "the page shows the moment of the first: {names:?}");
}
