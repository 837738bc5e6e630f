//! What happens to containers, as it happens.
//!
//! containerd's own event stream is used where the runtime is containerd, of any version: 1.6 has no other, 1.7
//! hands each CRI event to only one of its subscribers (a dying connection swallows events), and only this stream
//! tells of out-of-memory kills. Its exit event comes before the CRI service has noted the exit, so the exit is
//! confirmed with the runtime first: whoever gets [`EventKind::Exited`] reads the final status. Other runtimes give
//! `GetContainerEvents`.

mod native;
mod standard;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use copepod_base::Shutdown;
use copepod_base::backoff::{Backoff, Policy};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::client::{channel, socket_path};
use crate::{Result, Runtime, v1};

/// Events that wait for a slow reader; then the stream itself waits.
const BUFFER: usize = 256;

/// Between attempts to get the stream back: 50 ms doubling to 5 s.
const RECONNECT: Policy =
    Policy { initial: Duration::from_millis(50), max: Duration::from_secs(5), factor: 2.0, jitter: 0.2 };

/// How long an exit may stay unnoticed by the CRI service before the event is passed on regardless.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

/// Between looks at an unconfirmed exit: 2 ms doubling to 200 ms.
const CONFIRM: Policy =
    Policy { initial: Duration::from_millis(2), max: Duration::from_millis(200), factor: 2.0, jitter: 0.0 };

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A container or sandbox was created.
    Created,
    /// Its main process runs.
    Started,
    /// Its main process ended; the runtime's status says so too.
    Exited,
    /// The kernel killed a process of it for lack of memory.
    OutOfMemory,
    /// It was removed.
    Deleted,
    /// Events may have been missed (the first message, and after each lost connection): list everything.
    Lost,
}

/// One event. Sandboxes are told of in the same way as containers: then both ids are the sandbox's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeEvent {
    /// What happened.
    pub kind: EventKind,
    /// The container's id, or the sandbox's for its pause process; empty for [`EventKind::Lost`].
    pub container_id: String,
    /// The sandbox it belongs to; always known for exits, otherwise where the stream tells.
    pub sandbox_id: Option<String>,
    /// Exit code, with [`EventKind::Exited`] where the stream tells.
    pub exit_code: Option<i32>,
    /// When it happened, by the runtime's clock.
    pub time: SystemTime,
}

impl RuntimeEvent {
    /// The event that asks for a fresh list.
    #[must_use]
    pub fn lost() -> Self {
        Self {
            kind: EventKind::Lost,
            container_id: String::new(),
            sandbox_id: None,
            exit_code: None,
            time: copepod_base::clock::now(),
        }
    }
}

/// Subscribes to the runtime behind `endpoint`, for as long as `shutdown` and the receiver live.
///
/// The stream is got back with back-off; the first message after each connection is [`EventKind::Lost`], sent when
/// the subscription stands, so that a list made then misses nothing. A slow reader slows the stream, nothing is
/// dropped.
///
/// # Errors
/// When `endpoint` is not a unix socket.
pub fn watch(
    endpoint: &str,
    runtime: Arc<dyn Runtime>,
    shutdown: &Shutdown,
) -> Result<mpsc::Receiver<RuntimeEvent>> {
    let channel = channel(&socket_path(endpoint)?);
    let (sender, receiver) = mpsc::channel(BUFFER);
    let watcher =
        Arc::new(Watcher { runtime, sender, sandboxes: Mutex::default(), shutdown: shutdown.clone() });
    shutdown.spawn_until_cancelled("runtime-events", async move {
        let mut backoff = Backoff::new(RECONNECT);
        while !watcher.sender.is_closed() {
            let started = copepod_base::clock::instant();
            let end = tokio::select! {
                end = watcher.follow(channel.clone()) => end,
                () = watcher.sender.closed() => return,
            };
            if started.elapsed() > RECONNECT.max {
                backoff.reset();
            }
            let delay = backoff.next_delay();
            tracing::debug!(?delay, reason = %end, "runtime event stream ended");
            tokio::time::sleep(delay).await;
        }
    });
    Ok(receiver)
}

/// What both kinds of stream share.
struct Watcher {
    runtime: Arc<dyn Runtime>,
    sender: mpsc::Sender<RuntimeEvent>,
    /// Sandbox of each container seen, since containerd's events name only the container.
    sandboxes: Mutex<HashMap<String, String>>,
    shutdown: Shutdown,
}

impl Watcher {
    /// One connection from its start to its end; says why it ended.
    async fn follow(self: &Arc<Self>, channel: tonic::transport::Channel) -> crate::Error {
        match self.runtime.version().await {
            Ok(version) if version.runtime_name == "containerd" => native::follow(self, channel).await,
            Ok(_) => standard::follow(self, channel).await,
            Err(error) => error,
        }
    }

    /// The subscription stands: whatever was known may be stale.
    async fn connected(&self) {
        self.sandboxes.lock().clear();
        self.send(RuntimeEvent::lost()).await;
    }

    async fn send(&self, event: RuntimeEvent) {
        // A closed receiver ends the watch in its loop.
        let _ = self.sender.send(event).await;
    }

    /// Sandbox of a container, asking the runtime once; a sandbox is its own.
    async fn sandbox_of(&self, id: &str) -> Option<String> {
        if let Some(known) = self.sandboxes.lock().get(id) {
            return Some(known.clone());
        }
        let (sandbox, _) = self.look(id).await.ok()??;
        self.sandboxes.lock().insert(id.to_owned(), sandbox.clone());
        Some(sandbox)
    }

    /// Sandbox and whether the main process has not ended yet; `None` when the runtime knows no such container or sandbox.
    async fn look(&self, id: &str) -> Result<Option<(String, bool)>> {
        let filter = v1::ContainerFilter { id: id.to_owned(), ..Default::default() };
        if let Some(found) = self.runtime.list_containers(Some(filter)).await?.into_iter().next() {
            // A container that is only "created" to the runtime has been started a moment ago: its end comes later.
            let running = found.state() != v1::ContainerState::ContainerExited;
            return Ok(Some((found.pod_sandbox_id, running)));
        }
        let filter = v1::PodSandboxFilter { id: id.to_owned(), ..Default::default() };
        let found = self.runtime.list_pod_sandbox(Some(filter)).await?.into_iter().next();
        Ok(found.map(|sandbox| {
            let ready = sandbox.state() == v1::PodSandboxState::SandboxReady;
            (sandbox.id, ready)
        }))
    }

    /// Waits until the runtime's status agrees that the process ended, then passes the event on.
    fn confirm_exit(self: &Arc<Self>, mut event: RuntimeEvent) {
        let watcher = self.clone();
        self.shutdown.spawn_until_cancelled("confirm-exit", async move {
            let confirmed = tokio::time::timeout(CONFIRM_WITHIN, async {
                let mut backoff = Backoff::new(CONFIRM);
                loop {
                    match watcher.look(&event.container_id).await {
                        Ok(Some((sandbox, running))) => {
                            event.sandbox_id = Some(sandbox);
                            if !running {
                                break;
                            }
                        }
                        Ok(None) => break,
                        // The connection is gone: the list after the next one tells.
                        Err(_) => break,
                    }
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            })
            .await;
            if confirmed.is_err() {
                tracing::warn!(container = %event.container_id, "the runtime has not noted an exit it reported");
            }
            if event.sandbox_id.is_none() {
                event.sandbox_id = watcher.sandboxes.lock().get(&event.container_id).cloned();
            }
            watcher.send(event).await;
        });
    }
}

/// A date from nanoseconds since the epoch, as CRI counts.
fn from_nanos(nanos: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}
