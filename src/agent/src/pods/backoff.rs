//! Delays between restarts of a container that keeps ending, and between pulls that keep failing.
//!
//! The first repetition is immediate; then 10 s, doubling to 5 min. After ten quiet minutes it starts anew.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// First delay.
const INITIAL: Duration = Duration::from_secs(10);
/// Longest delay.
pub const MAX: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy)]
struct Entry {
    delay: Duration,
    updated: Timestamp,
}

/// Delays by name of what is repeated.
#[derive(Debug, Default)]
pub struct Backoffs(HashMap<String, Entry>);

/// Something may not be repeated yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The current delay, as messages name it.
    pub delay: Duration,
    /// What is left of it.
    pub remaining: Duration,
}

impl Backoffs {
    /// Whether what last ended at `ended` must wait.
    #[must_use]
    pub fn check(&self, key: &str, ended: Timestamp, now: Timestamp) -> Option<Wait> {
        let entry = self.0.get(key)?;
        if expired(ended, entry.updated) {
            return None;
        }
        let passed = Duration::try_from(now.duration_since(ended)).unwrap_or(Duration::ZERO);
        let remaining = entry.delay.checked_sub(passed)?;
        (!remaining.is_zero()).then_some(Wait { delay: entry.delay, remaining })
    }

    /// As [`check`](Self::check), counted from the last failure noted.
    #[must_use]
    pub fn check_since_update(&self, key: &str, now: Timestamp) -> Option<Wait> {
        self.check(key, self.0.get(key)?.updated, now)
    }

    /// Notes a repetition: the next one has to wait longer.
    pub fn next(&mut self, key: &str, ended: Timestamp, now: Timestamp) {
        let delay = match self.0.get(key) {
            Some(entry) if !expired(ended, entry.updated) => (entry.delay * 2).min(MAX),
            _ => INITIAL,
        };
        self.0.insert(key.to_owned(), Entry { delay, updated: now });
    }

    /// Forgets what is known of one name.
    pub fn reset(&mut self, key: &str) {
        self.0.remove(key);
    }
}

fn expired(event: Timestamp, updated: Timestamp) -> bool {
    event.duration_since(updated) > SignedDuration::try_from(MAX * 2).unwrap_or(SignedDuration::MAX)
}

/// A duration as Go prints it, which messages and events carry: `10s`, `1m20s`, `5m0s`.
#[must_use]
pub fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    #[test]
    fn the_first_restart_is_immediate_then_delays_double_to_five_minutes() {
        let mut backoffs = Backoffs::default();
        let mut now = 0;
        let mut delays = Vec::new();
        for _ in 0..8 {
            if let Some(wait) = backoffs.check("c", at(now), at(now)) {
                assert_eq!(
                    backoffs.check("c", at(now), at(now + 1)).unwrap().remaining,
                    wait.delay - Duration::from_secs(1)
                );
                delays.push(wait.delay.as_secs());
                let ended = now;
                now += i64::try_from(wait.delay.as_secs()).unwrap();
                assert_eq!(backoffs.check("c", at(ended), at(now)), None);
            } else {
                delays.push(0);
            }
            backoffs.next("c", at(now), at(now));
        }
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_good_minutes_reset_the_delay() {
        let mut backoffs = Backoffs::default();
        for _ in 0..5 {
            backoffs.next("c", at(0), at(0));
        }
        assert_eq!(backoffs.check("c", at(601), at(601)), None);
        backoffs.next("c", at(601), at(601));
        assert_eq!(backoffs.check("c", at(602), at(602)).unwrap().delay, INITIAL);
    }

    #[test]
    fn durations_read_as_in_go() {
        let text = |s| go_duration(Duration::from_secs(s));
        assert_eq!((text(10), text(80), text(300)), ("10s".into(), "1m20s".into(), "5m0s".into()));
    }
}
