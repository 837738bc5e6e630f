//! Watches: what comes, in which order, and how they end.

use bytes::BytesMut;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::support::Forgetful;
use super::support::{Cluster, request};
use crate::{Body, Identity};
use copepod_store::memory::MemoryStore;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The lines of a watch.
struct Lines {
    body: Body,
    rest: BytesMut,
}

impl Lines {
    async fn open(cluster: &Cluster, query: &str) -> Self {
        Self::open_as(cluster, &format!("{MAPS}?watch=1&{query}"), "application/json").await
    }

    async fn open_as(cluster: &Cluster, path: &str, accept: &str) -> Self {
        let mut request = request("GET", path, "", "");
        request.headers_mut().insert("accept", accept.parse().unwrap());
        let response = cluster.send(Identity::admin(), request).await;
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), rest: BytesMut::new() }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(end + 1);
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// The next event as type and name.
    async fn short(&mut self) -> (String, String) {
        let event = self.next().await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

async fn make(cluster: &Cluster, name: &str, labels: Value) -> Value {
    cluster.post(MAPS, json!({"metadata": {"name": name, "labels": labels}})).await.expect(201).json()
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_watch_begins_with_what_is_there_and_goes_on_with_what_happens() {
    let cluster = Cluster::new().await;
    make(&cluster, "a", json!({})).await;
    let mut lines = Lines::open(&cluster, "").await;
    assert_eq!(lines.short().await, pair("ADDED", "a"));
    make(&cluster, "b", json!({})).await;
    assert_eq!(lines.short().await, pair("ADDED", "b"));
    let changed = cluster
        .patch(&format!("{MAPS}/a"), "merge-patch", json!({"data": {"x": "1"}}))
        .await
        .expect(200)
        .json();
    let event = lines.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]), (&json!("MODIFIED"), &changed));
    cluster.delete(&format!("{MAPS}/a")).await.expect(200);
    let event = lines.next().await.unwrap();
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["data"]["x"], "1", "the last state");
    assert_ne!(
        event["object"]["metadata"]["resourceVersion"], changed["metadata"]["resourceVersion"],
        "with the version of the deletion"
    );
}

#[tokio::test]
async fn a_watch_from_an_old_version_replays_each_event_once() {
    let cluster = Cluster::new().await;
    let first = make(&cluster, "a", json!({})).await;
    for name in ["b", "c"] {
        make(&cluster, name, json!({})).await;
    }
    // Writes to other kinds are no events here, but move the version.
    cluster.post("/api/v1/namespaces/default/secrets", json!({"metadata": {"name": "s"}})).await.expect(201);
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let mut lines = Lines::open(&cluster, &format!("resourceVersion={version}")).await;
    assert_eq!(lines.short().await, pair("ADDED", "b"));
    make(&cluster, "d", json!({})).await;
    assert_eq!(lines.short().await, pair("ADDED", "c"));
    assert_eq!(lines.short().await, pair("ADDED", "d"));
    make(&cluster, "e", json!({})).await;
    assert_eq!(lines.short().await, pair("ADDED", "e"));
}

#[tokio::test]
async fn entering_a_selection_is_added_and_leaving_it_is_deleted() {
    let cluster = Cluster::new().await;
    let mut lines = Lines::open(&cluster, "labelSelector=on").await;
    make(&cluster, "a", json!({})).await;
    let relabel = async |labels: Value| {
        let patch = json!({"metadata": {"labels": labels}});
        cluster.patch(&format!("{MAPS}/a"), "merge-patch", patch).await.expect(200).json()
    };
    let on = relabel(json!({"on": "1"})).await;
    let event = lines.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]), (&json!("ADDED"), &on));
    relabel(json!({"on": "2"})).await;
    assert_eq!(lines.short().await, pair("MODIFIED", "a"));
    let off = relabel(json!({"on": null})).await;
    let event = lines.next().await.unwrap();
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["metadata"]["labels"]["on"], "2", "as it last was inside");
    assert_eq!(event["object"]["metadata"]["resourceVersion"], off["metadata"]["resourceVersion"]);
    cluster.delete(&format!("{MAPS}/a")).await.expect(200);
    make(&cluster, "b", json!({"on": "1"})).await;
    assert_eq!(lines.short().await, pair("ADDED", "b"), "what was outside goes unseen");
}

#[tokio::test]
async fn a_watch_sees_only_its_namespace_and_name() {
    let cluster = Cluster::new().await;
    let mut lines = Lines::open(&cluster, "fieldSelector=metadata.name%3Db").await;
    make(&cluster, "a", json!({})).await;
    let old_style = "/api/v1/watch/namespaces/default/configmaps/b";
    let mut old_style = Lines::open_as(&cluster, old_style, "application/json").await;
    let elsewhere = "/api/v1/namespaces/kube-system/configmaps";
    cluster.post(elsewhere, json!({"metadata": {"name": "b"}})).await.expect(201);
    make(&cluster, "b", json!({"here": "1"})).await;
    let event = lines.next().await.unwrap();
    assert_eq!(event["object"]["metadata"]["namespace"], "default");
    assert_eq!(old_style.next().await.unwrap(), event);
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let cluster = Cluster::new().await;
    make(&cluster, "a", json!({})).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut lines = Lines::open(&cluster, query).await;
    assert_eq!(lines.short().await, pair("ADDED", "a"));
    let mark = lines.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!((&mark["object"]["kind"], &mark["object"]["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let newest = cluster.store.revision().await.unwrap().to_string();
    assert_eq!(mark["object"]["metadata"]["resourceVersion"], newest);
    make(&cluster, "b", json!({})).await;
    assert_eq!(lines.short().await, pair("ADDED", "b"));
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_every_minute_to_those_who_want_them_and_tell_the_newest_version() {
    let cluster = Cluster::new().await;
    let mut with = Lines::open(&cluster, "allowWatchBookmarks=true&timeoutSeconds=200").await;
    let mut without = Lines::open(&cluster, "timeoutSeconds=200").await;
    cluster.post("/api/v1/namespaces/default/secrets", json!({"metadata": {"name": "s"}})).await.expect(201);
    let newest = cluster.store.revision().await.unwrap().to_string();
    let began = tokio::time::Instant::now();
    let mark = with.next().await.unwrap();
    assert_eq!(
        (&mark["type"], &mark["object"]["metadata"]["resourceVersion"]),
        (&json!("BOOKMARK"), &json!(newest))
    );
    let waited = began.elapsed().as_secs();
    assert!((50..70).contains(&waited), "{waited}");
    assert_eq!(without.next().await, None, "nothing but the end");
    let waited = began.elapsed().as_secs();
    assert!((199..=201).contains(&waited), "{waited}");
}

#[tokio::test]
async fn a_version_that_was_forgotten_is_expired() {
    let cluster = Cluster::over(std::sync::Arc::new(Forgetful(MemoryStore::new()))).await;
    let first = make(&cluster, "a", json!({})).await;
    let mut live = Lines::open(&cluster, "").await;
    assert_eq!(live.short().await, pair("ADDED", "a"));
    make(&cluster, "b", json!({})).await;
    assert_eq!(live.short().await, pair("ADDED", "b"), "the event has passed");
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let mut lines = Lines::open(&cluster, &format!("resourceVersion={version}")).await;
    let error = lines.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(error["object"]["reason"], "Expired");
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_ended_with_expired_after_what_it_has() {
    let cluster = Cluster::new().await;
    make(&cluster, "a", json!({})).await;
    let mut lines = Lines::open(&cluster, "").await;
    assert_eq!(lines.short().await, pair("ADDED", "a"));
    for n in 0..1100 {
        let patch = json!({"data": {"x": n.to_string()}});
        cluster.patch(&format!("{MAPS}/a"), "merge-patch", patch).await.expect(200);
    }
    let mut last = -1;
    loop {
        let event = lines.next().await.unwrap();
        if event["type"] == "ERROR" {
            assert_eq!(event["object"]["code"], 410);
            break;
        }
        let n: i32 = event["object"]["data"]["x"].as_str().unwrap().parse().unwrap();
        assert_eq!(n, last + 1, "nothing is skipped");
        last = n;
    }
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn a_watch_as_table_names_its_columns_once_and_metadata_is_metadata() {
    let cluster = Cluster::new().await;
    let path = format!("{MAPS}?watch=true");
    let mut tables = Lines::open_as(&cluster, &path, "application/json;as=Table;g=meta.k8s.io;v=v1").await;
    let mut metadata =
        Lines::open_as(&cluster, &path, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1").await;
    make(&cluster, "a", json!({})).await;
    make(&cluster, "b", json!({})).await;
    let first = tables.next().await.unwrap();
    assert_eq!((&first["type"], &first["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    let second = tables.next().await.unwrap();
    assert!(second["object"]["columnDefinitions"].is_null());
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
    let event = metadata.next().await.unwrap();
    assert_eq!(event["object"]["kind"], "PartialObjectMetadata");
    assert!(event["object"].get("data").is_none());
}

#[tokio::test]
async fn watches_end_cleanly_when_the_server_stops() {
    let cluster = Cluster::new().await;
    let mut lines = Lines::open(&cluster, "").await;
    make(&cluster, "a", json!({})).await;
    assert_eq!(lines.short().await, pair("ADDED", "a"));
    cluster.shutdown.cancel();
    assert_eq!(lines.next().await, None);
}
