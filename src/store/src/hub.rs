//! Hands each committed event to the watchers that want it.
//!
//! The hub keeps the newest events in a ring bounded by bytes. A watcher that starts within the ring is live at
//! once; one that starts earlier reads history from the back end until it reaches the ring, and only then
//! registers, in the same critical section that copies the rest of the ring. So nothing is lost, nothing comes
//! twice, and a long replay buffers nothing.
//!
//! Watchers are grouped by prefix: an event looks up its own key's prefixes, and wakes only those who want it.

mod watch;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch as channel;

use crate::types::{Error, Event, Revision};

use watch::Subscriber;
pub(crate) use watch::{HubWatch, Replay, Replayed};

/// Bookkeeping of one event beside its bytes, roughly.
const EVENT_OVERHEAD: usize = 128;

/// How much the hub may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of recent events kept for new watchers.
    pub(crate) ring: usize,
    /// Bytes one watcher may be behind.
    pub(crate) backlog: usize,
}

pub(crate) struct Hub {
    state: Mutex<State>,
    /// Newest published revision; set after the events are in the watchers' queues.
    revision: channel::Sender<Revision>,
    limits: Limits,
}

struct State {
    ring: VecDeque<Event>,
    ring_bytes: usize,
    /// The ring has every event after this revision.
    floor: Revision,
    compacted: Revision,
    groups: HashMap<Arc<str>, Vec<Arc<Subscriber>>>,
    /// How many groups have a prefix of this length.
    lengths: BTreeMap<usize, usize>,
    closed: bool,
}

impl Hub {
    pub(crate) fn new(revision: Revision, compacted: Revision, limits: Limits) -> Self {
        let state = State {
            ring: VecDeque::new(),
            ring_bytes: 0,
            floor: revision,
            compacted,
            groups: HashMap::new(),
            lengths: BTreeMap::new(),
            closed: false,
        };
        Self { state: Mutex::new(state), revision: channel::Sender::new(revision), limits }
    }

    /// The newest published revision.
    pub(crate) fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// Tells of each new revision.
    pub(crate) fn revisions(&self) -> channel::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// The revision up to which history is forgotten.
    pub(crate) fn compacted(&self) -> Revision {
        self.state.lock().compacted
    }

    pub(crate) fn set_compacted(&self, revision: Revision) {
        let mut state = self.state.lock();
        state.compacted = state.compacted.max(revision);
    }

    /// Publishes the events of one commit, in revision order. Those after `stored` exist nowhere else yet and
    /// stay in the ring whatever its size.
    pub(crate) fn publish(&self, events: Vec<Event>, stored: Revision) {
        let Some(newest) = events.last().map(|event| event.revision) else {
            return;
        };
        let mut state = self.state.lock();
        state.deliver(&events, self.limits.backlog);
        for event in events {
            state.ring_bytes += weight(&event);
            state.ring.push_back(event);
        }
        while state.ring_bytes > self.limits.ring {
            let Some(oldest) = state.ring.pop_front_if(|event| event.revision <= stored) else {
                break;
            };
            state.ring_bytes -= weight(&oldest);
            state.floor = oldest.revision;
        }
        drop(state);
        self.revision.send_replace(newest);
    }

    /// Drops the ring's events up to the revision: for a back end without other history.
    pub(crate) fn forget(&self, revision: Revision) {
        let mut state = self.state.lock();
        while let Some(oldest) = state.ring.pop_front_if(|event| event.revision <= revision) {
            state.ring_bytes -= weight(&oldest);
        }
        state.floor = state.floor.max(revision);
    }

    /// Ends every watch, now and later.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for subscriber in std::mem::take(&mut state.groups).into_values().flatten() {
            subscriber.end(Error::Closed);
        }
        state.lengths.clear();
    }

    /// Registers for everything after `cursor`, or gives `None` when the ring begins later than that.
    fn subscribe(&self, prefix: &Arc<str>, cursor: Revision) -> Result<Option<Arc<Subscriber>>, Error> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        if cursor < state.floor {
            return Ok(None);
        }
        let start = state.ring.partition_point(|event| event.revision <= cursor);
        let missed: Vec<Event> =
            state.ring.range(start..).filter(|event| event.key.starts_with(&**prefix)).cloned().collect();
        let subscriber = Arc::new(Subscriber::new(missed));
        let group = state.groups.entry(Arc::clone(prefix)).or_default();
        group.push(Arc::clone(&subscriber));
        if group.len() == 1 {
            *state.lengths.entry(prefix.len()).or_default() += 1;
        }
        Ok(Some(subscriber))
    }

    fn unsubscribe(&self, prefix: &str, subscriber: &Arc<Subscriber>) {
        let mut state = self.state.lock();
        if let Some(group) = state.groups.get_mut(prefix) {
            group.retain(|other| !Arc::ptr_eq(other, subscriber));
            state.drop_if_empty(prefix);
        }
    }
}

impl State {
    fn deliver(&mut self, events: &[Event], backlog: usize) {
        if self.groups.is_empty() {
            return;
        }
        let mut wanted: HashMap<Arc<str>, Vec<Event>> = HashMap::new();
        for event in events {
            for length in self.lengths.range(..=event.key.len()).map(|(length, _)| *length) {
                let Some((prefix, _)) =
                    event.key.get(..length).and_then(|prefix| self.groups.get_key_value(prefix))
                else {
                    continue;
                };
                wanted.entry(Arc::clone(prefix)).or_default().push(event.clone());
            }
        }
        for (prefix, events) in wanted {
            let bytes = events.iter().map(weight).sum();
            let events: Arc<[Event]> = events.into();
            if let Some(group) = self.groups.get_mut(&prefix) {
                group.retain(|subscriber| subscriber.push(&events, bytes, backlog));
                self.drop_if_empty(&prefix);
            }
        }
    }

    fn drop_if_empty(&mut self, prefix: &str) {
        if self.groups.get(prefix).is_none_or(|group| !group.is_empty()) {
            return;
        }
        self.groups.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }
}

fn weight(event: &Event) -> usize {
    EVENT_OVERHEAD
        + event.key.len()
        + event.value.len()
        + event.previous.as_ref().map_or(0, bytes::Bytes::len)
}
