//! A keyed work queue with delays and per-key back-off.
//!
//! * A key is in the queue once, however often it is added.
//! * A key is never with two workers at a time; one added while being worked on comes again after
//!   [`Queue::done`].
//! * Of several delayed adds of a key the earliest counts. A delayed add and an immediate one are both kept:
//!   a timer must not be lost because an event came first.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use copepod_base::backoff::Policy;
use copepod_base::clock;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// client-go's per-item limits, with jitter: keys that failed together must not come back together.
const RETRY: Policy =
    Policy { initial: Duration::from_millis(5), max: Duration::from_secs(1000), factor: 2.0, jitter: 0.2 };

/// Due time and a running number, so that equal times keep their order.
type Due = (Instant, u64);

struct State<K> {
    ready: VecDeque<K>,
    /// Keys in `ready`, and keys being worked on that were added meanwhile.
    dirty: HashSet<K>,
    working: HashSet<K>,
    delayed: BTreeMap<Due, K>,
    due: HashMap<K, Due>,
    failures: HashMap<K, u32>,
    sequence: u64,
    closed: bool,
}

struct Inner<K> {
    state: Mutex<State<K>>,
    wake: Notify,
}

/// The queue. Clones are the same queue.
pub struct Queue<K>(Arc<Inner<K>>);

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Clone + Eq + Hash> Default for Queue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashSet::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
            closed: false,
        };
        Self(Arc::new(Inner { state: Mutex::new(state), wake: Notify::new() }))
    }

    /// Adds a key that is due now.
    pub fn add(&self, key: K) {
        let mut state = self.0.state.lock();
        if !state.closed {
            state.add(key);
            self.0.wake.notify_one();
        }
    }

    /// Adds a key that is due after a delay.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.0.state.lock();
        if !state.closed {
            state.add_at(key, clock::instant() + delay);
            self.0.wake.notify_one();
        }
    }

    /// Adds a key that failed: 5 ms after the first failure in a row, then doubling up to 1000 s, plus jitter.
    pub fn retry(&self, key: K) {
        let failures = {
            let mut state = self.0.state.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            *failures = failures.saturating_add(1);
            *failures
        };
        self.add_after(key, RETRY.delay(failures));
    }

    /// Forgets the failures of a key; its next [`retry`](Self::retry) is quick again.
    pub fn forget(&self, key: &K) {
        self.0.state.lock().failures.remove(key);
    }

    /// Failures in a row of a key.
    #[must_use]
    pub fn failures(&self, key: &K) -> u32 {
        self.0.state.lock().failures.get(key).copied().unwrap_or_default()
    }

    /// Waits for a key that is due and hands it to the caller, who must call [`done`](Self::done) with it.
    ///
    /// `None` after [`close`](Self::close). Safe to cancel: no key is lost.
    pub async fn next(&self) -> Option<K> {
        loop {
            // Made before looking: what is added after the look wakes it.
            let woken = self.0.wake.notified();
            let nearest = {
                let mut state = self.0.state.lock();
                if state.closed {
                    // Pass it on: a wake-up reaches one waiter only.
                    self.0.wake.notify_one();
                    return None;
                }
                state.promote(clock::instant());
                if let Some(key) = state.take() {
                    // Somebody else must look after the keys that are left and their times.
                    if !state.ready.is_empty() || !state.delayed.is_empty() {
                        self.0.wake.notify_one();
                    }
                    return Some(key);
                }
                state.delayed.first_key_value().map(|((instant, _), _)| *instant)
            };
            match nearest {
                Some(instant) => tokio::select! {
                    () = woken => {}
                    () = tokio::time::sleep_until(instant) => {}
                },
                None => woken.await,
            }
        }
    }

    /// The worker has finished with the key; if it was added meanwhile, it is due again.
    pub fn done(&self, key: &K) {
        let mut state = self.0.state.lock();
        state.working.remove(key);
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
            self.0.wake.notify_one();
        }
    }

    /// Ends the queue: everybody in [`next`](Self::next) gets `None`, adding does nothing.
    pub fn close(&self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        self.0.wake.notify_one();
    }

    /// Keys that are due and not yet handed out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.state.lock().ready.len()
    }

    /// Whether no key is due.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn add(&mut self, key: K) {
        if self.dirty.insert(key.clone()) && !self.working.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn add_at(&mut self, key: K, instant: Instant) {
        if let Some(&earlier) = self.due.get(&key) {
            if earlier.0 <= instant {
                return;
            }
            self.delayed.remove(&earlier);
        }
        self.sequence += 1;
        let due = (instant, self.sequence);
        self.due.insert(key.clone(), due);
        self.delayed.insert(due, key);
    }

    /// Moves keys whose time has come.
    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
    }

    fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.working.insert(key.clone());
        Some(key)
    }
}

#[cfg(test)]
mod tests;
