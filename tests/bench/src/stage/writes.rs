//! ConfigMap creates from several clients, each with a keep-alive HTTP/1.1 connection over TLS of its own.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use copepod_base::clock;
use serde_json::json;
use tokio::time::Instant;

use crate::api::{Connection, Endpoint};
use crate::error::{Result, io, wrong};
use crate::options::Effort;
use crate::process::count;
use crate::report::Report;
use crate::series::Series;
use crate::server::{Server, Setup};

/// Clients at once.
const CLIENTS: [usize; 3] = [1, 8, 64];
/// Size of each object, as sent.
const OBJECT_BYTES: usize = 2048;
/// Creates of each client before the measured ones.
const WARM_UP: usize = 20;
/// Flushes of the disk to compare with.
const FLUSHES: usize = 200;

/// Measures each number of clients in a namespace of its own.
pub(super) async fn run(setup: &Setup, effort: &Effort) -> Result<Report> {
    let server = setup.start().await?;
    let flush = flushes(&setup.folder)?;
    let mut report = Report::new(json!({"fdatasync_4k_ms": flush.to_json()}));
    for clients in CLIENTS {
        let (figures, text) = level(&server, clients, effort).await?;
        report.figures[format!("clients_{clients}")] = figures;
        let s = if clients == 1 { "" } else { "s" };
        report =
            report.row(&format!("ConfigMap creates (2 KiB, HTTP/1.1, TLS), {clients} client{s}"), "", text);
    }
    server.stop().await?;
    Ok(report.row("fdatasync of 4 KiB on the same disk", "", format!("{:.3} ms", flush.median())))
}

async fn level(server: &Server, clients: usize, effort: &Effort) -> Result<(serde_json::Value, String)> {
    let namespace = format!("writes-{clients}");
    server.namespace(&namespace).await?;
    let endpoint = server.endpoint()?;
    let mut writers = Vec::new();
    for client in 0..clients {
        writers.push(Writer::new(&endpoint, &namespace, client).await?);
    }
    futures::future::try_join_all(writers.iter_mut().map(|writer| writer.warm_up())).await?;

    let before = counters(server).await?;
    let begin = clock::instant();
    let until = begin + effort.write_time;
    let tasks: Vec<_> = writers
        .into_iter()
        .map(|writer| tokio::spawn(writer.write(until, effort.write_limit / clients)))
        .collect();
    let mut latency = Series::default();
    for task in tasks {
        latency.extend(task.await.map_err(|_| wrong("writer", "panicked"))??);
    }
    let seconds = begin.elapsed().as_secs_f64();
    let after = counters(server).await?;

    let writes = latency.len();
    let rate = count(writes as u64) / seconds;
    let per_write =
        |then: Option<u64>, now: Option<u64>| Some(count(now?.saturating_sub(then?)) / count(writes as u64));
    let flushes = per_write(before.flushes, after.flushes);
    let figures = json!({
        "writes_per_second": rate,
        "latency_ms": latency.to_json(),
        "fsyncs_per_write": flushes,
        "commits_per_write": per_write(before.commits, after.commits),
    });
    let flushes = flushes.map(|f| format!(", {f:.2} fsyncs each")).unwrap_or_default();
    let text = format!("{rate:.0}/s, median {:.2} ms (p95 {:.2}){flushes}", latency.median(), latency.p95());
    Ok((figures, text))
}

/// Counters of the store.
struct Counters {
    flushes: Option<u64>,
    commits: Option<u64>,
}

async fn counters(server: &Server) -> Result<Counters> {
    Ok(Counters {
        flushes: server.metric("copepod_store_fsyncs_total").await?,
        commits: server.metric("copepod_store_commits_total").await?,
    })
}

/// One client.
struct Writer {
    connection: Connection,
    path: String,
    client: usize,
    next: usize,
}

impl Writer {
    async fn new(endpoint: &Endpoint, namespace: &str, client: usize) -> Result<Self> {
        let connection = Connection::http1(endpoint).await?;
        Ok(Self { connection, path: format!("/api/v1/namespaces/{namespace}/configmaps"), client, next: 0 })
    }

    async fn warm_up(&mut self) -> Result<()> {
        for _ in 0..WARM_UP {
            self.create().await?;
        }
        Ok(())
    }

    /// Creates one after the other; latencies of the acknowledged ones in milliseconds.
    async fn write(mut self, until: Instant, limit: usize) -> Result<Series> {
        let mut latency = Series::default();
        while clock::instant() < until && latency.len() < limit {
            latency.push_ms(self.create().await?);
        }
        Ok(latency)
    }

    async fn create(&mut self) -> Result<Duration> {
        let body = object(&format!("c{}-{}", self.client, self.next));
        self.next += 1;
        let begin = clock::instant();
        self.connection.post(&self.path, body).await?;
        Ok(begin.elapsed())
    }
}

/// A ConfigMap of [`OBJECT_BYTES`].
fn object(name: &str) -> Bytes {
    let head = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"{name}\"}},\"data\":{{\"text\":\""
    );
    let tail = "\"}}";
    let filling = OBJECT_BYTES.saturating_sub(head.len() + tail.len());
    format!("{head}{}{tail}", "x".repeat(filling)).into()
}

/// Times of appending 4 KiB to a file and having it on the disk, in milliseconds.
fn flushes(folder: &Path) -> Result<Series> {
    let path = folder.join("flushes");
    let failed = || io(format!("write {}", path.display()));
    let mut file = std::fs::File::create(&path).map_err(failed())?;
    let mut series = Series::default();
    for _ in 0..FLUSHES {
        let begin = clock::instant();
        file.write_all(&[7; 4096]).and_then(|()| file.sync_data()).map_err(failed())?;
        series.push_ms(begin.elapsed());
    }
    std::fs::remove_file(&path).map_err(failed())?;
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_the_promised_size_and_are_json() {
        let body = object("c63-12345");
        assert_eq!(body.len(), OBJECT_BYTES);
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["metadata"]["name"], "c63-12345");
    }
}
