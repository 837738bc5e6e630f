//! Waiting for facts that nobody announces. Where kubectl can wait or watch, use that instead.

use std::thread;
use std::time::{Duration, Instant};

/// Pause between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until `check` has a result, and returns it.
///
/// # Panics
/// After `limit`, naming `what`.
#[track_caller]
#[allow(clippy::disallowed_methods)] // the harness has no use for the product's clock
pub fn eventually<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(INTERVAL);
    }
}

/// Looks until `check` holds.
///
/// # Panics
/// After `limit`, naming `what`.
#[track_caller]
pub fn until(what: &str, limit: Duration, mut check: impl FnMut() -> bool) {
    eventually(what, limit, || check().then_some(()));
}
