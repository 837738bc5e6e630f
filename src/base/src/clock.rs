//! The only place that asks the machine for the time.
//!
//! Code that needs a delay uses `tokio::time`, which tests can pause; code that needs a date takes it
//! from here, so that a test or a time-jump guard has one seam.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The wall clock.
#[must_use]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Time since the Unix epoch; zero on a machine whose clock is before 1970.
#[must_use]
pub fn since_epoch() -> Duration {
    now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// A monotonic instant that follows tokio's pausable clock.
#[must_use]
pub fn instant() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
