//! One write and the time until every watcher has seen it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use copepod_base::clock;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::api::Connection;
use crate::error::{Error, Result, wrong};
use crate::options::Effort;
use crate::process::Usage;
use crate::report::{Report, megabytes};
use crate::series::Series;
use crate::server::Setup;

/// HTTP/2 connections that the watches are spread over.
const CONNECTIONS: usize = 10;
/// Writes before the measured ones.
const WARM_UP: usize = 3;
/// A write that is not seen within this has failed.
const LIMIT: Duration = Duration::from_secs(30);
const PATH: &str = "/api/v1/namespaces/watch/configmaps";

/// Opens the watches, then writes one object after the other.
pub(super) async fn run(setup: &Setup, effort: &Effort) -> Result<Report> {
    let server = setup.start().await?;
    server.namespace("watch").await?;
    let endpoint = server.endpoint()?;
    let before = Usage::of(server.pid)?;

    let seen = Arc::new(AtomicUsize::new(0));
    let (sender, mut complete) = mpsc::unbounded_channel();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::http2(&endpoint).await?);
    }
    let mut writer = Connection::http1(&endpoint).await?;
    // Objects that exist already, such as the namespace's own, are no events of this test.
    let list: serde_json::Value =
        serde_json::from_slice(&writer.get(PATH).await?).map_err(crate::error::unusable("the list"))?;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    for number in 0..effort.watchers {
        let mut connection =
            connections[number % CONNECTIONS].share().ok_or_else(|| wrong("connection", "is not HTTP/2"))?;
        let body = connection.stream(&format!("{PATH}?watch=1&resourceVersion={version}")).await?;
        let watcher = Watcher { seen: seen.clone(), watchers: effort.watchers, complete: sender.clone() };
        copepod_base::task::spawn("watcher", watcher.watch(body));
    }

    let (mut since_sent, mut since_answered) = (Series::default(), Series::default());
    for number in 0..WARM_UP + effort.watched_writes {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("write-{number}")}, "data": {"number": number.to_string()}});
        let sent = clock::instant();
        writer.create(PATH, &object).await?;
        let answered = clock::instant();
        let last = match tokio::time::timeout(LIMIT, complete.recv()).await {
            Ok(Some(last)) => last,
            Ok(None) | Err(_) => {
                let what = format!(
                    "{} watchers see a write ({} events came)",
                    effort.watchers,
                    seen.load(Ordering::Relaxed)
                );
                return Err(Error::Late { what, limit: LIMIT });
            }
        };
        if number >= WARM_UP {
            since_sent.push_ms(last - sent);
            since_answered.push_ms(last.saturating_duration_since(answered));
        }
    }
    let after = Usage::of(server.pid)?;
    drop(connections);
    server.stop().await?;

    let n = effort.watchers;
    Ok(Report::new(json!({
        "watchers": n,
        "connections": CONNECTIONS,
        "since_sent_ms": since_sent.to_json(),
        "since_answered_ms": since_answered.to_json(),
        "memory_before": before.memory_json(),
        "memory_after": after.memory_json(),
    }))
    .row(
        &format!("{n} watchers ({CONNECTIONS} HTTP/2 connections), write sent until all have seen it"),
        "",
        format!("{:.1} ms (p95 {:.1})", since_sent.median(), since_sent.p95()),
    )
    .row(
        &format!("server without and with {n} watchers, no agent, resident memory"),
        "",
        format!("{}, {}", megabytes(before.resident), megabytes(after.resident)),
    ))
}

/// One of many; the last one to see a write tells when.
struct Watcher {
    seen: Arc<AtomicUsize>,
    watchers: usize,
    complete: mpsc::UnboundedSender<Instant>,
}

impl Watcher {
    /// Each event is one line, and the next write comes when all have seen this one: counting lines is enough.
    async fn watch(self, mut body: Incoming) {
        while let Some(Ok(frame)) = body.frame().await {
            let Some(data) = frame.data_ref() else { continue };
            for _ in data.iter().filter(|byte| **byte == b'\n') {
                let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
                if seen.is_multiple_of(self.watchers) && self.complete.send(clock::instant()).is_err() {
                    return;
                }
            }
        }
    }
}
