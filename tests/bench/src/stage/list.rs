//! A list of many pods beside the same bytes through the same TLS and HTTP code, by turns in the same run.

use std::time::Duration;

use bytes::Bytes;
use copepod_base::clock;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::api::{Connection, Endpoint, SelfSigned};
use crate::error::{Result, unusable, wrong};
use crate::options::Effort;
use crate::process::{Usage, count};
use crate::report::{Report, megabytes};
use crate::series::Series;
use crate::server::Setup;

/// Clients that create the pods.
const CLIENTS: usize = 8;
/// Size of each pod, as the list has it.
const POD_BYTES: usize = 4096;
/// Lists before the measured ones.
const WARM_UP: usize = 3;
const PODS: &str = "/api/v1/namespaces/list/pods";

/// Creates the pods, then lists them again and again.
pub(super) async fn run(setup: &Setup, effort: &Effort) -> Result<Report> {
    let server = setup.start().await?;
    server.namespace("list").await?;
    let endpoint = server.endpoint()?;
    let mut api = Connection::http1(&endpoint).await?;
    // How large an empty pod becomes by defaulting tells how much filling the others need.
    let bare = api.create(PODS, &pod("size", 0)).await?.len();
    api.send(http::Method::DELETE, &format!("{PODS}/size?gracePeriodSeconds=0"), Bytes::new())
        .await?
        .success()?;
    let filling = POD_BYTES.saturating_sub(bare);
    let creating = (0..CLIENTS).map(|client| create(&endpoint, client, effort.listed_pods, filling));
    let begin = clock::instant();
    futures::future::try_join_all(creating).await?;
    let created = begin.elapsed();
    check(&api.get(PODS).await?, effort.listed_pods)?;
    let before = Usage::of(server.pid)?;

    let length = api.drain(PODS).await?;
    let reference = SelfSigned::new().await?;
    let copied_from = reference.endpoint()?;
    reference.serve(Bytes::from(vec![b'x'; length]));
    let mut copy = Connection::http1(&copied_from).await?;
    let (mut lists, mut copies) = (Series::default(), Series::default());
    for round in 0..WARM_UP + effort.lists {
        let list = timed(&mut api, PODS, length).await?;
        let copied = timed(&mut copy, "/", length).await?;
        if round >= WARM_UP {
            lists.push_ms(list);
            copies.push_ms(copied);
        }
    }
    let after = Usage::of(server.pid)?;
    server.stop().await?;

    let rate = |series: &Series| count(length as u64) / 1e6 / (series.median() / 1e3);
    let n = effort.listed_pods;
    let text = |series: &Series| {
        format!("{:.1} ms (p95 {:.1}), {:.0} MB/s", series.median(), series.p95(), rate(series))
    };
    let ratio = lists.median() / copies.median();
    Ok(Report::new(json!({
        "pods": n,
        "bytes": length,
        "list_ms": lists.to_json(),
        "copy_ms": copies.to_json(),
        "ratio": ratio,
        "creates_per_second": count(n as u64) / created.as_secs_f64(),
        "memory_before": before.memory_json(),
        "memory_after": after.memory_json(),
    }))
    .row(&format!("list of {n} pods, {} (HTTP/1.1, TLS)", megabytes(length as u64)), "", text(&lists))
    .row("the same bytes from a bare TLS server", "", text(&copies))
    .row("list over copying", "", format!("{:+.1} %", (ratio - 1.0) * 100.0))
    .row(
        &format!("server with {n} pods of 4 KiB, no agent, resident memory"),
        "",
        format!("{}, after lists {}", megabytes(before.resident), megabytes(after.resident)),
    ))
}

async fn timed(connection: &mut Connection, path: &str, length: usize) -> Result<Duration> {
    let begin = clock::instant();
    let got = connection.drain(path).await?;
    if got == length {
        Ok(begin.elapsed())
    } else {
        Err(wrong(path, format!("{got} bytes instead of {length}")))
    }
}

/// One client's share of the pods.
async fn create(endpoint: &Endpoint, client: usize, pods: usize, filling: usize) -> Result<()> {
    let mut connection = Connection::http1(endpoint).await?;
    for number in (client..pods).step_by(CLIENTS) {
        connection.create(PODS, &pod(&format!("pod-{number}"), filling)).await?;
    }
    Ok(())
}

/// A pod that no scheduler wants.
fn pod(name: &str, filling: usize) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {"filling": "x".repeat(filling)}},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "main", "image": "none"}]},
    })
}

/// Whether the list is whole.
fn check(body: &[u8], pods: usize) -> Result<()> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<IgnoredAny>,
    }
    let list: List = serde_json::from_slice(body).map_err(unusable("the list of pods"))?;
    if list.items.len() == pods {
        return Ok(());
    }
    Err(wrong("the list of pods", format!("has {} instead of {pods}", list.items.len())))
}
