//! Pods that wait for a node.
//!
//! | state | leaves it |
//! |---|---|
//! | active | when its turn comes: highest priority first, then who waited longest |
//! | backing off | when its delay is over, to active |
//! | parked (no node fits) | when something changed that could help, or after five minutes, to backing off |

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use copepod_base::backoff::Policy;
use tokio::time::Instant;

/// kube-scheduler's numbers (`podInitialBackoffSeconds`, `podMaxBackoffSeconds`).
const BACKOFF: Policy =
    Policy { initial: Duration::from_secs(1), max: Duration::from_secs(10), factor: 2.0, jitter: 0.0 };

/// A parked pod is tried again after this time even if nothing is known to have changed.
const PARKED_AT_MOST: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Active,
    BackingOff(Instant),
    Parked(Instant),
    /// Handed out; not in any list.
    Working,
}

#[derive(Debug)]
struct Entry {
    priority: i32,
    since: Instant,
    attempts: u32,
    /// No earlier try than this, also when a change could help.
    not_before: Instant,
    state: State,
    /// Something changed while the pod was being looked at: parking it could lose that change.
    changed: bool,
}

/// The waiting pods, by uid.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: HashMap<String, Entry>,
    active: BTreeSet<(Reverse<i32>, Instant, String)>,
    timed: BTreeSet<(Instant, String)>,
}

impl Queue {
    /// Adds a pod, or tells that it changed in a way that could help it.
    pub(crate) fn add(&mut self, uid: &str, priority: i32, now: Instant) {
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.changed = true;
            if matches!(entry.state, State::Parked(_)) {
                self.wake(uid, now);
            }
            return;
        }
        let entry = Entry {
            priority,
            since: now,
            attempts: 0,
            not_before: now,
            state: State::Working,
            changed: false,
        };
        self.entries.insert(uid.to_owned(), entry);
        self.set(uid, State::Active);
    }

    pub(crate) fn remove(&mut self, uid: &str) {
        self.set(uid, State::Working);
        self.entries.remove(uid);
    }

    /// The next pod whose turn it is.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<String> {
        while let Some((due, uid)) = self.timed.first().cloned() {
            if due > now {
                break;
            }
            self.set(&uid, State::Active);
        }
        let (_, _, uid) = self.active.first().cloned()?;
        self.set(&uid, State::Working);
        if let Some(entry) = self.entries.get_mut(&uid) {
            entry.attempts += 1;
            entry.changed = false;
        }
        Some(uid)
    }

    /// Puts a pod back that no node can take now.
    pub(crate) fn park(&mut self, uid: &str, now: Instant) {
        let Some(entry) = self.entries.get_mut(uid) else { return };
        entry.not_before = now + BACKOFF.delay(entry.attempts);
        let state = if entry.changed {
            State::BackingOff(entry.not_before)
        } else {
            State::Parked(now + PARKED_AT_MOST)
        };
        self.set(uid, state);
    }

    /// Puts a pod back whose binding failed: the next try may succeed without any change.
    pub(crate) fn back_off(&mut self, uid: &str, now: Instant) {
        let Some(entry) = self.entries.get_mut(uid) else { return };
        entry.not_before = now + BACKOFF.delay(entry.attempts);
        let due = entry.not_before;
        self.set(uid, State::BackingOff(due));
    }

    /// Something changed that could help any pod: all parked ones get another try, after their back-off.
    pub(crate) fn wake_all(&mut self, now: Instant) {
        let parked: Vec<String> = self
            .entries
            .iter_mut()
            .filter_map(|(uid, entry)| {
                entry.changed = true;
                matches!(entry.state, State::Parked(_)).then(|| uid.clone())
            })
            .collect();
        parked.iter().for_each(|uid| self.wake(uid, now));
    }

    /// When [`pop`](Self::pop) may give something again without another call; `None` when only a change can help.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.timed.first().map(|(due, _)| *due)
    }

    fn wake(&mut self, uid: &str, now: Instant) {
        let Some(entry) = self.entries.get(uid) else { return };
        let state = if entry.not_before > now { State::BackingOff(entry.not_before) } else { State::Active };
        self.set(uid, state);
    }

    /// Moves an entry to a state, and between the lists.
    fn set(&mut self, uid: &str, state: State) {
        let Some(entry) = self.entries.get_mut(uid) else { return };
        let turn = (Reverse(entry.priority), entry.since, uid.to_owned());
        match entry.state {
            State::Active => {
                self.active.remove(&turn);
            }
            State::BackingOff(due) | State::Parked(due) => {
                self.timed.remove(&(due, uid.to_owned()));
            }
            State::Working => {}
        }
        entry.state = state;
        match state {
            State::Active => {
                self.active.insert(turn);
            }
            State::BackingOff(due) | State::Parked(due) => {
                self.timed.insert((due, uid.to_owned()));
            }
            State::Working => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(base: Instant, seconds: u64) -> Instant {
        base + Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn higher_priority_goes_first_then_who_waited_longer() {
        let now = copepod_base::clock::instant();
        let mut queue = Queue::default();
        queue.add("late", 0, second(now, 1));
        queue.add("early", 0, now);
        queue.add("important", 9, second(now, 2));
        let order: Vec<String> = std::iter::from_fn(|| queue.pop(second(now, 3))).collect();
        assert_eq!(order, ["important", "early", "late"]);
    }

    #[tokio::test]
    async fn a_parked_pod_waits_for_a_change_and_then_for_its_back_off() {
        let now = copepod_base::clock::instant();
        let mut queue = Queue::default();
        queue.add("p", 0, now);
        assert_eq!(queue.pop(now).as_deref(), Some("p"));
        queue.park("p", now);
        assert_eq!(queue.pop(second(now, 60)), None);
        queue.wake_all(now);
        assert_eq!(queue.pop(now), None, "still backing off");
        assert_eq!(queue.next_due(), Some(second(now, 1)));
        assert_eq!(queue.pop(second(now, 1)).as_deref(), Some("p"));
    }

    #[tokio::test]
    async fn a_change_during_the_decision_is_not_lost() {
        let now = copepod_base::clock::instant();
        let mut queue = Queue::default();
        queue.add("p", 0, now);
        queue.pop(now);
        queue.wake_all(now);
        queue.park("p", now);
        assert_eq!(queue.pop(second(now, 1)).as_deref(), Some("p"));
    }

    #[tokio::test]
    async fn a_parked_pod_is_tried_again_after_five_minutes_anyway() {
        let now = copepod_base::clock::instant();
        let mut queue = Queue::default();
        queue.add("p", 0, now);
        queue.pop(now);
        queue.park("p", now);
        assert_eq!(queue.pop(second(now, 299)), None);
        assert_eq!(queue.pop(second(now, 300)).as_deref(), Some("p"));
    }

    #[tokio::test]
    async fn a_removed_pod_never_comes_back() {
        let now = copepod_base::clock::instant();
        let mut queue = Queue::default();
        queue.add("p", 0, now);
        queue.pop(now);
        queue.remove("p");
        queue.back_off("p", now);
        queue.wake_all(now);
        assert_eq!(queue.pop(second(now, 1000)), None);
    }
}
