//! One watcher: history first, then live.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Hub, weight};
use crate::types::{Error, Event, Revision, Watch};

/// A stretch of history.
pub(crate) struct Replayed {
    /// Events with the prefix, in revision order; may be empty.
    pub(crate) events: Vec<Event>,
    /// Everything up to this revision was looked at; beyond the start unless there is nothing.
    pub(crate) through: Revision,
}

/// Where a watcher finds events that are older than the hub's ring.
#[async_trait]
pub(crate) trait Replay: Send + Sync {
    /// The next stretch after `after`; of bounded size.
    async fn replay(&self, prefix: &str, after: Revision) -> Result<Replayed, Error>;
}

/// The hub's end of a live watcher.
pub(super) struct Subscriber {
    queue: Mutex<Queue>,
    /// Wakes the one consumer; keeps the permit when it is not waiting.
    wake: Notify,
}

struct Queue {
    chunks: VecDeque<(Arc<[Event]>, usize)>,
    bytes: usize,
    ended: Option<Error>,
}

impl Subscriber {
    pub(super) fn new(missed: Vec<Event>) -> Self {
        let mut queue = Queue { chunks: VecDeque::new(), bytes: 0, ended: None };
        if !missed.is_empty() {
            queue.bytes = missed.iter().map(weight).sum();
            queue.chunks.push_back((missed.into(), queue.bytes));
        }
        Self { queue: Mutex::new(queue), wake: Notify::new() }
    }

    /// Queues the events; false when the watcher is over. An empty queue takes any amount, so that a single big
    /// commit does not end a watcher that keeps up.
    pub(super) fn push(&self, events: &Arc<[Event]>, bytes: usize, backlog: usize) -> bool {
        let mut queue = self.queue.lock();
        if !queue.chunks.is_empty() && queue.bytes + bytes > backlog {
            drop(queue);
            self.end(Error::TooSlow);
            return false;
        }
        queue.bytes += bytes;
        queue.chunks.push_back((Arc::clone(events), bytes));
        drop(queue);
        self.wake.notify_one();
        true
    }

    /// Ends the watcher and frees what it did not take.
    pub(super) fn end(&self, why: Error) {
        let mut queue = self.queue.lock();
        queue.chunks.clear();
        queue.bytes = 0;
        queue.ended.get_or_insert(why);
        drop(queue);
        self.wake.notify_one();
    }

    async fn next(&self) -> Result<Arc<[Event]>, Error> {
        loop {
            {
                let mut queue = self.queue.lock();
                if let Some((events, bytes)) = queue.chunks.pop_front() {
                    queue.bytes -= bytes;
                    return Ok(events);
                }
                if let Some(why) = &queue.ended {
                    return Err(why.clone());
                }
            }
            self.wake.notified().await;
        }
    }

    /// The newest revision below which nothing is queued, given that all up to `published` was queued before.
    fn progress(&self, published: Revision, delivered: Revision) -> Revision {
        let queue = self.queue.lock();
        if queue.ended.is_some() {
            return delivered;
        }
        match queue.chunks.front().and_then(|(events, _)| events.first()) {
            Some(first) => delivered.max(first.revision.saturating_sub(1).min(published)),
            None => delivered.max(published),
        }
    }
}

enum Stage {
    Replaying,
    Live(Arc<Subscriber>),
    Over(Error),
}

/// A running watch on a [`Hub`].
pub(crate) struct HubWatch {
    hub: Arc<Hub>,
    history: Arc<dyn Replay>,
    prefix: Arc<str>,
    delivered: Revision,
    stage: Stage,
}

impl HubWatch {
    /// Starts after `after`; live at once when the ring reaches back that far.
    pub(crate) fn start(
        hub: Arc<Hub>,
        history: Arc<dyn Replay>,
        prefix: &str,
        after: Revision,
    ) -> Result<Self, Error> {
        let oldest = hub.compacted();
        if after < oldest {
            return Err(Error::Compacted { requested: after, oldest });
        }
        let prefix: Arc<str> = prefix.into();
        let stage = hub.subscribe(&prefix, after)?.map_or(Stage::Replaying, Stage::Live);
        Ok(Self { hub, history, prefix, delivered: after, stage })
    }

    async fn advance(&mut self) -> Result<Option<Arc<[Event]>>, Error> {
        match &self.stage {
            Stage::Over(why) => Err(why.clone()),
            Stage::Live(subscriber) => {
                let events = subscriber.next().await?;
                // A start that readers saw before it was published: skip what the caller knows.
                let known = events.partition_point(|event| event.revision <= self.delivered);
                Ok(self.taken(if known == 0 { events } else { events[known..].into() }))
            }
            Stage::Replaying => {
                if let Some(subscriber) = self.hub.subscribe(&self.prefix, self.delivered)? {
                    self.stage = Stage::Live(subscriber);
                    return Ok(None);
                }
                let stretch = self.history.replay(&self.prefix, self.delivered).await?;
                if stretch.through <= self.delivered {
                    return Err(Error::Backend(
                        format!("history after revision {} is missing", self.delivered).into(),
                    ));
                }
                self.delivered = stretch.through;
                Ok((!stretch.events.is_empty()).then(|| stretch.events.into()))
            }
        }
    }

    fn taken(&mut self, events: Arc<[Event]>) -> Option<Arc<[Event]>> {
        self.delivered = events.last()?.revision;
        Some(events)
    }
}

#[async_trait]
impl Watch for HubWatch {
    async fn next(&mut self) -> Result<Arc<[Event]>, Error> {
        loop {
            match self.advance().await {
                Ok(Some(events)) => return Ok(events),
                Ok(None) => {}
                Err(why) => {
                    self.stage = Stage::Over(why.clone());
                    return Err(why);
                }
            }
        }
    }

    fn progress(&self) -> Revision {
        match &self.stage {
            Stage::Live(subscriber) => {
                // Read before the queue: what is published is in the queue already.
                let published = self.hub.revision();
                subscriber.progress(published, self.delivered)
            }
            Stage::Replaying | Stage::Over(_) => self.delivered,
        }
    }
}

impl Drop for HubWatch {
    fn drop(&mut self) {
        if let Stage::Live(subscriber) = &self.stage {
            self.hub.unsubscribe(&self.prefix, subscriber);
        }
    }
}
