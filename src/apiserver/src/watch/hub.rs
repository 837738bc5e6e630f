//! The one watch on the store, and its distribution.
//!
//! An event is offered only to subscribers of its resource. Its line on the wire is made once, when the first of them
//! sends it, and shared by the others. A subscriber whose queue is full is dropped, which its watcher reports as
//! 410 Expired: nothing is skipped silently.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use copepod_api::encode::{self, EventType};
use copepod_api::kind::Kind;
use copepod_base::{Chain, Shutdown, backoff};
use copepod_store::{Error, Event, Revision, Store};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::filter::Filter;

/// Events that a watcher may be behind.
const QUEUE: usize = 1024;

/// An event on its way to watchers, with its encoded forms.
pub(crate) struct Shared {
    pub(crate) event: Event,
    lines: Mutex<Vec<(LineKey, Bytes)>>,
}

type LineKey = (usize, EventType, bool, bool);

impl Shared {
    /// The event's line for watchers of a kind: made once.
    pub(crate) fn line(
        &self,
        kind: &Arc<Kind>,
        event_type: EventType,
        previous: bool,
        metadata_only: bool,
    ) -> Bytes {
        let key = (Arc::as_ptr(kind) as usize, event_type, previous, metadata_only);
        let mut lines = self.lines.lock();
        if let Some((_, line)) = lines.iter().find(|(k, _)| *k == key) {
            return line.clone();
        }
        let object = self.object(kind, previous);
        let line = if metadata_only {
            encode::metadata_event(event_type, &object, self.event.revision)
        } else {
            encode::event(event_type, &object, self.event.revision)
        };
        lines.push((key, line.clone()));
        line
    }

    /// The object of the event as the kind serves it, without resource version.
    pub(crate) fn object(&self, kind: &Kind, previous: bool) -> Bytes {
        let stored = match &self.event.previous {
            Some(before) if previous => before.clone(),
            _ => self.event.value.clone(),
        };
        // What cannot be translated is passed on as it is rather than lost.
        kind.from_storage(stored.clone()).unwrap_or(stored)
    }
}

/// An event and what it is for one subscriber.
pub(crate) struct Delivery {
    pub(crate) shared: Arc<Shared>,
    pub(crate) event_type: EventType,
    pub(crate) previous: bool,
}

struct Subscriber {
    id: u64,
    filter: Arc<Filter>,
    queue: mpsc::Sender<Delivery>,
}

#[derive(Default)]
struct Topics {
    subscribers: HashMap<String, Vec<Subscriber>>,
    next_id: u64,
}

/// Distributes the store's events.
pub(crate) struct Hub {
    topics: Mutex<Topics>,
    /// Every event at or below this revision has been offered; 0 before the first watch runs.
    progress: AtomicU64,
    running: watch::Sender<bool>,
}

impl Hub {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            topics: Mutex::default(),
            progress: AtomicU64::new(0),
            running: watch::Sender::new(false),
        })
    }

    /// Whether events are coming in.
    pub(crate) fn is_running(&self) -> bool {
        *self.running.borrow()
    }

    /// Ends when events come in.
    pub(crate) async fn started(&self) {
        // The sender lives as long as this.
        let _ = self.running.subscribe().wait_for(|running| *running).await;
    }

    /// Every event at or below this revision is in the queues of its subscribers.
    pub(crate) fn progress(&self) -> Revision {
        self.progress.load(Ordering::Acquire)
    }

    /// Feeds the hub until shutdown. When the store's watch ends, all subscribers are dropped (their clients list
    /// anew) and a new watch begins.
    pub(crate) async fn run(self: Arc<Self>, store: Arc<dyn Store>, shutdown: Shutdown) {
        let mut failures = backoff::Backoff::new(backoff::Policy::REQUEST);
        while !shutdown.is_cancelled() {
            let Some(result) = shutdown.guard(self.feed(store.as_ref(), &mut failures)).await else { break };
            self.running.send_replace(false);
            self.topics.lock().subscribers.clear();
            if let Err(error) = result {
                if matches!(error, Error::Closed) {
                    break;
                }
                tracing::warn!(error = %Chain(&error), "the watch on the datastore ended, starting anew");
            }
            let delay = failures.next_delay();
            if shutdown.guard(tokio::time::sleep(delay)).await.is_none() {
                break;
            }
        }
        self.running.send_replace(false);
        self.topics.lock().subscribers.clear();
    }

    async fn feed(&self, store: &dyn Store, failures: &mut backoff::Backoff) -> Result<(), Error> {
        let start = store.revision().await?;
        let mut watch = store.watch("/registry/", start).await?;
        self.progress.store(start, Ordering::Release);
        self.running.send_replace(true);
        loop {
            let events = watch.next().await?;
            failures.reset();
            self.offer(&events);
        }
    }

    fn offer(&self, events: &[Event]) {
        let mut topics = self.topics.lock();
        for event in events {
            let Some(list) = topics.subscribers.get_mut(topic_of(&event.key)) else { continue };
            let mut shared: Option<Arc<Shared>> = None;
            list.retain(|subscriber| {
                let Some((event_type, previous)) = subscriber.filter.decide(event) else { return true };
                let shared = shared
                    .get_or_insert_with(|| Arc::new(Shared { event: event.clone(), lines: Mutex::default() }))
                    .clone();
                subscriber.queue.try_send(Delivery { shared, event_type, previous }).is_ok()
            });
        }
        if let Some(last) = events.last() {
            self.progress.store(last.revision, Ordering::Release);
        }
    }

    /// Starts to collect events that the filter selects, once the hub runs.
    pub(crate) async fn subscribe(self: &Arc<Self>, filter: Arc<Filter>) -> Subscription {
        self.started().await;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let topic = filter.kind.prefix();
        let mut topics = self.topics.lock();
        topics.next_id += 1;
        let id = topics.next_id;
        let start = self.progress();
        topics.subscribers.entry(topic.clone()).or_default().push(Subscriber { id, filter, queue: sender });
        Subscription { hub: self.clone(), topic, id, start, receiver }
    }
}

/// The part of a key that names the resource: `/registry/<group>/<plural>/`.
fn topic_of(key: &str) -> &str {
    key.match_indices('/').nth(3).map_or(key, |(at, _)| &key[..=at])
}

/// A place in the hub; dropping it gives it up.
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    topic: String,
    id: u64,
    /// Events after this revision come in.
    pub(crate) start: Revision,
    receiver: mpsc::Receiver<Delivery>,
}

impl Subscription {
    /// The next event; `None` when this subscriber fell behind or the hub ended.
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        self.receiver.recv().await
    }

    /// A revision up to which nothing more will come: all earlier events have been taken.
    pub(crate) fn settled(&self) -> Option<Revision> {
        // In this order: what was offered before this progress was in the queue then.
        let progress = self.hub.progress();
        self.receiver.is_empty().then_some(progress)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut topics = self.hub.topics.lock();
        if let Some(list) = topics.subscribers.get_mut(&self.topic) {
            list.retain(|subscriber| subscriber.id != self.id);
            if list.is_empty() {
                topics.subscribers.remove(&self.topic);
            }
        }
    }
}
