//! Exponential delays with jitter.

use std::time::Duration;

/// Shape of a series of growing delays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Delay after the first failure.
    pub initial: Duration,
    /// No delay is longer than this (before jitter).
    pub max: Duration,
    /// Each delay is the one before times this.
    pub factor: f64,
    /// Share of the delay that is random, 0.0 to 1.0: many clients must not come back together.
    pub jitter: f64,
}

impl Policy {
    /// Retry of a request to a peer: 100 ms doubling to 30 s.
    pub const REQUEST: Policy = Policy {
        initial: Duration::from_millis(100),
        max: Duration::from_secs(30),
        factor: 2.0,
        jitter: 0.2,
    };

    /// The delay after `failures` failures in a row (1 is the first).
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let plain = (self.initial.as_secs_f64() * self.factor.powi(exponent)).min(self.max.as_secs_f64());
        Duration::from_secs_f64(plain * (1.0 + self.jitter * fastrand::f64()))
    }
}

/// A [`Policy`] and how often it was used.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: Policy,
    failures: u32,
}

impl Backoff {
    /// A series that starts at the policy's first delay.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, failures: 0 }
    }

    /// Counts a failure and gives the delay before the next try.
    pub fn next_delay(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.policy.delay(self.failures)
    }

    /// Starts the series anew after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_maximum_and_never_overflow() {
        let policy = Policy { jitter: 0.0, ..Policy::REQUEST };
        assert_eq!(policy.delay(1), Duration::from_millis(100));
        assert_eq!(policy.delay(3), Duration::from_millis(400));
        assert_eq!(policy.delay(u32::MAX), Duration::from_secs(30));
    }
}
