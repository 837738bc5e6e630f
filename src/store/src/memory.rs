//! The store in memory only: for unit tests of other crates. Expiry follows tokio's clock, which tests can pause.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::hub::{Hub, HubWatch, Limits, Replay, Replayed};
use crate::types::{
    Durability, Error, Event, EventKind, Range, RangeResult, Record, Revision, Store, Watch, WriteOptions,
};

/// A store that is gone with its last handle. Keeps all history until [`compact`](Store::compact).
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    hub: Arc<Hub>,
    /// Tells the expiry task of a new deadline.
    deadline: Arc<Notify>,
}

#[derive(Default)]
struct State {
    revision: Revision,
    compacted: Revision,
    current: BTreeMap<Arc<str>, Held>,
    /// Each write with the revision that it replaced.
    history: Vec<(Event, Revision)>,
    expiry_runs: bool,
}

#[derive(Clone)]
struct Held {
    record: Record,
    expires: Option<Instant>,
}

/// The hub's ring is all the history there is.
struct NoHistory(Weak<Inner>);

#[async_trait]
impl Replay for NoHistory {
    async fn replay(&self, _prefix: &str, after: Revision) -> Result<Replayed, Error> {
        let inner = self.0.upgrade().ok_or(Error::Closed)?;
        Err(Error::Compacted { requested: after, oldest: inner.hub.compacted() })
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_backlog(4 << 20)
    }

    /// An empty store that ends a watcher which is this many bytes behind.
    #[must_use]
    pub fn with_backlog(backlog: usize) -> Self {
        let hub = Arc::new(Hub::new(0, 0, Limits { ring: usize::MAX, backlog }));
        Self { inner: Arc::new(Inner { state: Mutex::default(), hub, deadline: Arc::default() }) }
    }

    /// Ends all watches with [`Error::Closed`], as a real store does at shutdown.
    pub fn close(&self) {
        self.inner.hub.close();
    }

    fn expire_by_itself(&self, state: &mut State) {
        self.inner.deadline.notify_one();
        if std::mem::replace(&mut state.expiry_runs, true) {
            return;
        }
        let weak = Arc::downgrade(&self.inner);
        let deadline = Arc::clone(&self.inner.deadline);
        copepod_base::task::spawn("memory-store-expiry", async move {
            loop {
                let Some(next) = weak.upgrade().map(|inner| inner.expire()) else {
                    return;
                };
                let due = async {
                    match next {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = deadline.notified() => {}
                    () = due => {}
                }
            }
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.deadline.notify_one();
        self.hub.close();
    }
}

impl Inner {
    /// Deletes what is due; gives the next deadline.
    fn expire(&self) -> Option<Instant> {
        let mut state = self.state.lock();
        let now = copepod_base::clock::instant();
        let due: Vec<Record> = state
            .current
            .values()
            .filter(|held| held.expires.is_some_and(|expires| expires <= now))
            .map(|held| held.record.clone())
            .collect();
        for record in due {
            self.remove(&mut state, record);
        }
        state.current.values().filter_map(|held| held.expires).min()
    }

    fn remove(&self, state: &mut State, record: Record) -> Revision {
        state.current.remove(&record.key);
        self.publish(state, EventKind::Deleted, record.value.clone(), &record.key, Some(&record))
    }

    fn put(
        &self,
        state: &mut State,
        key: &str,
        value: Bytes,
        before: Option<&Record>,
        options: WriteOptions,
    ) -> Revision {
        let key: Arc<str> = before.map_or_else(|| key.into(), |before| Arc::clone(&before.key));
        let kind = if before.is_some() { EventKind::Updated } else { EventKind::Created };
        let revision = self.publish(state, kind, value.clone(), &key, before);
        let create_revision = before.map_or(revision, |before| before.create_revision);
        let record = Record { key: Arc::clone(&key), value, create_revision, mod_revision: revision };
        let expires = options.ttl.map(|ttl| copepod_base::clock::instant() + ttl);
        state.current.insert(key, Held { record, expires });
        revision
    }

    fn publish(
        &self,
        state: &mut State,
        kind: EventKind,
        value: Bytes,
        key: &Arc<str>,
        before: Option<&Record>,
    ) -> Revision {
        state.revision += 1;
        let revision = state.revision;
        let event = Event {
            kind,
            key: Arc::clone(key),
            value,
            previous: before.map(|before| before.value.clone()),
            revision,
            create_revision: before.map_or(revision, |before| before.create_revision),
        };
        state.history.push((event.clone(), before.map_or(0, |before| before.mod_revision)));
        // Under the lock, so that events reach the hub in order.
        self.hub.publish(vec![event], revision);
        revision
    }
}

impl State {
    fn expect(&self, key: &str, expected: Revision) -> Result<Record, Error> {
        let held = self.current.get(key).ok_or_else(|| Error::NotFound(key.to_owned()))?;
        if held.record.mod_revision == expected {
            Ok(held.record.clone())
        } else {
            Err(Error::Conflict(Box::new(held.record.clone())))
        }
    }

    /// All records with the prefix at a revision: the current ones with the later events undone.
    fn at(&self, prefix: &str, revision: Revision) -> BTreeMap<Arc<str>, Record> {
        let mut records: BTreeMap<Arc<str>, Record> = self
            .current
            .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, held)| (Arc::clone(key), held.record.clone()))
            .collect();
        for (event, replaces) in self.history.iter().rev().take_while(|(event, _)| event.revision > revision)
        {
            if !event.key.starts_with(prefix) {
                continue;
            }
            match &event.previous {
                None => records.remove(&event.key),
                Some(value) => records.insert(
                    Arc::clone(&event.key),
                    Record {
                        key: Arc::clone(&event.key),
                        value: value.clone(),
                        create_revision: event.create_revision,
                        mod_revision: *replaces,
                    },
                ),
            };
        }
        records
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn revision(&self) -> Result<Revision, Error> {
        Ok(self.inner.state.lock().revision)
    }

    async fn get(&self, key: &str) -> Result<(Option<Record>, Revision), Error> {
        let state = self.inner.state.lock();
        Ok((state.current.get(key).map(|held| held.record.clone()), state.revision))
    }

    async fn range(&self, range: Range) -> Result<RangeResult, Error> {
        let state = self.inner.state.lock();
        let (newest, oldest) = (state.revision, state.compacted);
        let revision = range.revision.unwrap_or(newest);
        if revision > newest {
            return Err(Error::Future { requested: revision, newest });
        }
        if revision < oldest {
            return Err(Error::Compacted { requested: revision, oldest });
        }
        let mut records: Vec<Record> = state.at(&range.prefix, revision).into_values().collect();
        if let Some(after) = &range.after {
            records.retain(|record| *record.key > **after);
        }
        let found = records.len();
        if range.limit > 0 {
            records.truncate(range.limit);
        }
        let remaining = (found - records.len()) as u64;
        Ok(RangeResult { records, revision, remaining })
    }

    async fn count(&self, prefix: &str) -> Result<u64, Error> {
        let state = self.inner.state.lock();
        Ok(state.current.keys().filter(|key| key.starts_with(prefix)).count() as u64)
    }

    async fn create(&self, key: &str, value: Bytes, options: WriteOptions) -> Result<Revision, Error> {
        let mut state = self.inner.state.lock();
        if state.current.contains_key(key) {
            return Err(Error::Exists(key.to_owned()));
        }
        let revision = self.inner.put(&mut state, key, value, None, options);
        if options.ttl.is_some() {
            self.expire_by_itself(&mut state);
        }
        Ok(revision)
    }

    async fn update(
        &self,
        key: &str,
        value: Bytes,
        expected: Revision,
        options: WriteOptions,
    ) -> Result<Revision, Error> {
        let mut state = self.inner.state.lock();
        let before = state.expect(key, expected)?;
        let revision = self.inner.put(&mut state, key, value, Some(&before), options);
        if options.ttl.is_some() {
            self.expire_by_itself(&mut state);
        }
        Ok(revision)
    }

    async fn delete(
        &self,
        key: &str,
        expected: Revision,
        _durability: Durability,
    ) -> Result<Revision, Error> {
        let mut state = self.inner.state.lock();
        let before = state.expect(key, expected)?;
        Ok(self.inner.remove(&mut state, before))
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch>, Error> {
        let newest = self.inner.state.lock().revision;
        if after > newest {
            return Err(Error::Future { requested: after, newest });
        }
        let history = Arc::new(NoHistory(Arc::downgrade(&self.inner)));
        Ok(Box::new(HubWatch::start(Arc::clone(&self.inner.hub), history, prefix, after)?))
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let mut state = self.inner.state.lock();
        if revision > state.revision {
            return Err(Error::Future { requested: revision, newest: state.revision });
        }
        if revision > state.compacted {
            state.compacted = revision;
            state.history.retain(|(event, _)| event.revision > revision);
            self.inner.hub.set_compacted(revision);
            self.inner.hub.forget(revision);
        }
        Ok(())
    }

    async fn size(&self) -> Result<u64, Error> {
        let state = self.inner.state.lock();
        Ok(state.current.values().map(|held| (held.record.key.len() + held.record.value.len()) as u64).sum())
    }
}
