//! CRI's own event stream, for runtimes other than containerd.

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Channel;

use super::{EventKind, RuntimeEvent, Watcher, from_nanos};
use crate::v1::runtime_service_client::RuntimeServiceClient;
use crate::{Error, v1};

const CALL: &str = "GetContainerEvents";

/// A local server has taken a call up by then.
const SETTLED: Duration = Duration::from_secs(1);

/// Follows the stream to its end.
pub(super) async fn follow(watcher: &Arc<Watcher>, channel: Channel) -> Error {
    let mut client =
        RuntimeServiceClient::new(channel).max_decoding_message_size(crate::client::MAX_MESSAGE_BYTES);
    // Most servers answer only with the first event. Until then, the list is asked for at once and when the
    // subscription must have reached the server, and again with the first event.
    watcher.connected().await;
    let call = client.get_container_events(v1::GetEventsRequest {});
    tokio::pin!(call);
    let answer = tokio::select! {
        answer = &mut call => answer,
        () = tokio::time::sleep(SETTLED) => {
            watcher.connected().await;
            call.await
        }
    };
    let mut stream = match answer {
        Ok(response) => response.into_inner(),
        Err(status) => return Error::from_status(CALL, None, &status),
    };
    watcher.connected().await;
    loop {
        match stream.message().await {
            Ok(Some(message)) => watcher.send(translate(message)).await,
            Ok(None) => {
                return Error::Unavailable { call: CALL, message: "the stream was closed".to_owned() };
            }
            Err(status) => return Error::from_status(CALL, None, &status),
        }
    }
}

fn translate(message: v1::ContainerEventResponse) -> RuntimeEvent {
    let kind = match message.container_event_type() {
        v1::ContainerEventType::ContainerCreatedEvent => EventKind::Created,
        v1::ContainerEventType::ContainerStartedEvent => EventKind::Started,
        v1::ContainerEventType::ContainerStoppedEvent => EventKind::Exited,
        v1::ContainerEventType::ContainerDeletedEvent => EventKind::Deleted,
    };
    let status = message.containers_statuses.iter().find(|status| status.id == message.container_id);
    let exit_code = status.filter(|_| kind == EventKind::Exited).map(|status| status.exit_code);
    RuntimeEvent {
        kind,
        exit_code,
        sandbox_id: message.pod_sandbox_status.map(|sandbox| sandbox.id),
        container_id: message.container_id,
        time: from_nanos(message.created_at),
    }
}
