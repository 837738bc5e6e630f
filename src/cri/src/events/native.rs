//! containerd's event service.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use containerd_client::events::{
    ContainerCreate, ContainerDelete, NamespaceUpdate, TaskExit, TaskOom, TaskStart,
};
use containerd_client::services::v1::events_client::EventsClient;
use containerd_client::services::v1::{PublishRequest, SubscribeRequest};
use containerd_client::types::Envelope;
use copepod_base::backoff::{Backoff, Policy};
use prost::Message;
use tokio::sync::oneshot;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use super::{EventKind, RuntimeEvent, Watcher};
use crate::Error;

const CALL: &str = "Subscribe";

/// The topics that wake somebody; execs in containers have topics of their own that are not wanted.
const TOPICS: &[&str] =
    &["/containers/create", "/containers/delete", "/tasks/start", "/tasks/exit", "/tasks/oom", READY];

/// Our own topic. containerd answers a subscription only with its first event, so we cause one.
const READY: &str = "/copepod/subscribed";

/// Between the events that we cause until the first comes back: 2 ms doubling to 200 ms.
const KNOCK: Policy =
    Policy { initial: Duration::from_millis(2), max: Duration::from_millis(200), factor: 2.0, jitter: 0.0 };

/// Follows the stream to its end.
pub(super) async fn follow(watcher: &Arc<Watcher>, channel: Channel) -> Error {
    let (standing, stands) = oneshot::channel();
    tokio::select! {
        end = read(watcher, channel.clone(), standing) => end,
        error = knock(channel, stands) => error,
    }
}

async fn read(watcher: &Arc<Watcher>, channel: Channel, standing: oneshot::Sender<()>) -> Error {
    let filters =
        TOPICS.iter().map(|topic| format!("namespace==k8s.io,topic==\"{topic}\"")).collect::<Vec<_>>();
    let mut client = EventsClient::new(channel);
    let mut stream = match client.subscribe(SubscribeRequest { filters }).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Error::from_status(CALL, None, &status),
    };
    // Whatever came first: from here on nothing is missed.
    drop(standing);
    watcher.connected().await;
    loop {
        match stream.message().await {
            Ok(Some(envelope)) => handle(watcher, &envelope).await,
            Ok(None) => {
                return Error::Unavailable { call: CALL, message: "the stream was closed".to_owned() };
            }
            Err(status) => return Error::from_status(CALL, None, &status),
        }
    }
}

/// Causes events until the subscription has shown one, then waits forever; gives only an error.
async fn knock(channel: Channel, mut stands: oneshot::Receiver<()>) -> Error {
    let mut client = EventsClient::new(channel);
    // A type that every client of containerd can decode.
    let event = NamespaceUpdate { name: "k8s.io".to_owned(), labels: HashMap::new() };
    let mut backoff = Backoff::new(KNOCK);
    loop {
        let message =
            PublishRequest { topic: READY.to_owned(), event: Some(containerd_client::to_any(&event)) };
        let mut request = Request::new(message);
        request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static("k8s.io"));
        if let Err(status) = client.publish(request).await {
            return Error::from_status("Publish", None, &status);
        }
        tokio::select! {
            _ = &mut stands => return std::future::pending().await,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

async fn handle(watcher: &Arc<Watcher>, envelope: &Envelope) {
    let Some(mut event) = decode(envelope) else { return };
    match event.kind {
        EventKind::Exited => watcher.confirm_exit(event),
        EventKind::OutOfMemory => {
            event.sandbox_id = watcher.sandbox_of(&event.container_id).await;
            watcher.send(event).await;
        }
        EventKind::Deleted => {
            event.sandbox_id = watcher.sandboxes.lock().remove(&event.container_id);
            watcher.send(event).await;
        }
        EventKind::Created | EventKind::Started | EventKind::Lost => {
            event.sandbox_id = watcher.sandboxes.lock().get(&event.container_id).cloned();
            watcher.send(event).await;
        }
    }
}

/// The event inside an envelope; `None` for the exit of an exec and for what cannot be decoded.
fn decode(envelope: &Envelope) -> Option<RuntimeEvent> {
    let bytes = envelope.event.as_ref()?.value.as_slice();
    let mut exit_code = None;
    let (kind, container_id) = match envelope.topic.as_str() {
        "/containers/create" => (EventKind::Created, ContainerCreate::decode(bytes).ok()?.id),
        "/containers/delete" => (EventKind::Deleted, ContainerDelete::decode(bytes).ok()?.id),
        "/tasks/start" => (EventKind::Started, TaskStart::decode(bytes).ok()?.container_id),
        "/tasks/oom" => (EventKind::OutOfMemory, TaskOom::decode(bytes).ok()?.container_id),
        "/tasks/exit" => {
            let exit = TaskExit::decode(bytes).ok()?;
            if exit.id != exit.container_id {
                return None;
            }
            exit_code = i32::try_from(exit.exit_status).ok();
            (EventKind::Exited, exit.container_id)
        }
        _ => return None,
    };
    let time = envelope.timestamp.and_then(|stamp| SystemTime::try_from(stamp).ok());
    Some(RuntimeEvent {
        kind,
        container_id,
        sandbox_id: None,
        exit_code,
        time: time.unwrap_or_else(copepod_base::clock::now),
    })
}
