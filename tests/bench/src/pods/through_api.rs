//! Pods through the API, and one watch that sees what becomes of them.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use copepod_base::clock;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::NAMESPACE;
use crate::api::{Connection, Endpoint};
use crate::error::{Error, Result, io, unusable, wrong};
use crate::series::Series;

/// A pod that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(120);

/// What a watch says of a pod.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Object,
}

#[derive(Debug, Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    node_name: String,
}

#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: String,
}

/// Times of pods, from the moment that the request was sent, in milliseconds.
#[derive(Debug, Default, Clone)]
pub(crate) struct Times {
    /// Until the create was answered.
    pub(crate) answered: Series,
    /// Until the watch showed it on a node.
    pub(crate) bound: Series,
    /// Until the watch showed it Running.
    pub(crate) running: Series,
}

impl Times {
    /// Adds all of `other`.
    pub(crate) fn extend(&mut self, other: Self) {
        self.answered.extend(other.answered);
        self.bound.extend(other.bound);
        self.running.extend(other.running);
    }
}

/// A client that makes pods and sees them run.
pub(crate) struct Pods {
    requests: Connection,
    events: mpsc::UnboundedReceiver<(Instant, Event)>,
}

impl Pods {
    /// Opens the watch, and a second connection for requests.
    pub(crate) async fn new(endpoint: &Endpoint) -> Result<Self> {
        let mut connection = Connection::http1(endpoint).await?;
        let body = connection.stream(&format!("/api/v1/namespaces/{NAMESPACE}/pods?watch=1")).await?;
        let (sender, events) = mpsc::unbounded_channel();
        copepod_base::task::spawn("watch", async move {
            // Whoever waits for an event learns from the closed channel that there will be none.
            let _ = read(body, &sender).await;
            drop(connection);
        });
        Ok(Self { requests: Connection::http2(endpoint).await?, events })
    }

    /// Creates these pods at once and waits until the last is Running; gives also the time of the whole.
    pub(crate) async fn run(&mut self, names: &[String]) -> Result<(Times, Duration)> {
        let begin = clock::instant();
        let creating = names.iter().map(|name| {
            let connection = self.share();
            async move {
                let sent = clock::instant();
                connection?.create(&collection(), &super::object(name)).await?;
                Ok::<_, Error>((name.clone(), (sent, sent.elapsed())))
            }
        });
        // The watch is read at the same time; its channel is unbounded, so nothing is lost while the creates go on.
        let created: HashMap<String, (Instant, Duration)> =
            futures::future::try_join_all(creating).await?.into_iter().collect();
        let (mut times, mut bound, mut running) = (Times::default(), HashMap::new(), HashMap::new());
        while running.len() < names.len() {
            let (at, event) = self.next("all pods are Running").await?;
            let name = event.object.metadata.name;
            if matches!(event.object.status.phase.as_str(), "Failed" | "Succeeded") {
                return Err(wrong(format!("pod {name}"), format!("is {}", event.object.status.phase)));
            }
            if !created.contains_key(&name) {
                continue;
            }
            if !event.object.spec.node_name.is_empty() {
                bound.entry(name.clone()).or_insert(at);
            }
            if event.object.status.phase == "Running" {
                running.entry(name).or_insert(at);
            }
        }
        let last = running.values().max().copied().unwrap_or(begin);
        for (name, (sent, answered)) in &created {
            times.answered.push_ms(*answered);
            times.bound.push_ms(bound.get(name).map_or(Duration::ZERO, |at| *at - *sent));
            times.running.push_ms(running.get(name).map_or(Duration::ZERO, |at| *at - *sent));
        }
        Ok((times, last - begin))
    }

    /// Deletes these pods without grace and waits until the API has forgotten them.
    pub(crate) async fn delete(&mut self, names: &[String]) -> Result<()> {
        let deleting = names.iter().map(|name| {
            let connection = self.share();
            async move {
                let options = Bytes::from_static(
                    b"{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"gracePeriodSeconds\":0}",
                );
                connection?
                    .send(Method::DELETE, &format!("{}/{name}", collection()), options)
                    .await?
                    .success()
            }
        });
        futures::future::try_join_all(deleting).await?;
        let mut left: std::collections::HashSet<&str> = names.iter().map(String::as_str).collect();
        while !left.is_empty() {
            let (_, event) = self.next("all pods are deleted").await?;
            if event.kind == "DELETED" {
                left.remove(event.object.metadata.name.as_str());
            }
        }
        Ok(())
    }

    fn share(&self) -> Result<Connection> {
        self.requests.share().ok_or_else(|| wrong("connection", "is not HTTP/2"))
    }

    async fn next(&mut self, what: &str) -> Result<(Instant, Event)> {
        match tokio::time::timeout(LIMIT, self.events.recv()).await {
            Ok(Some((_, event))) if event.kind == "ERROR" => {
                Err(wrong("watch of pods", format!("{event:?}")))
            }
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(io("read the watch of pods")(std::io::ErrorKind::UnexpectedEof.into())),
            Err(_) => Err(Error::Late { what: what.to_owned(), limit: LIMIT }),
        }
    }
}

fn collection() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/pods")
}

/// Sends each line of the watch with the time at which it was complete.
async fn read(mut body: Incoming, sender: &mpsc::UnboundedSender<(Instant, Event)>) -> Result<()> {
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|source| Error::Http { what: "watch of pods".to_owned(), source })?;
        let Ok(data) = frame.into_data() else { continue };
        let at = clock::instant();
        buffer.extend_from_slice(&data);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end + 1);
            let event = serde_json::from_slice(&line).map_err(unusable("a line of the watch of pods"))?;
            if sender.send((at, event)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
