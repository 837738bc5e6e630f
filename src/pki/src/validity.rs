//! From when until when certificates hold.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::date_time_ymd;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
/// Validity of an authority.
pub(crate) const AUTHORITY: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Validity of a certificate.
pub(crate) const LEAF: Duration = Duration::from_secs(365 * 24 * 3600);
/// A certificate with less left than this is renewed, as k3s does.
pub(crate) const RENEW: Duration = Duration::from_secs(120 * 24 * 3600);
/// Certificates begin to hold this long before they are made: clocks differ.
const BACKDATE: Duration = Duration::from_secs(3600);
/// 2026-01-01: a clock before this date has not been set yet, as on a machine without a battery. What such a
/// machine issues must still hold when its clock jumps to the present.
const PLAUSIBLE: Duration = Duration::from_secs(1_767_225_600);

/// Seconds since the Unix epoch.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// First and last second, in Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: u64,
    pub(crate) until: u64,
}

impl Validity {
    pub(crate) fn of(now: SystemTime, lifetime: Duration) -> Self {
        let now = unix(now);
        Self {
            from: now.saturating_sub(BACKDATE.as_secs()),
            until: now.max(PLAUSIBLE.as_secs()) + lifetime.as_secs(),
        }
    }

    /// Not after the issuer: a chain holds as long as its shortest link.
    pub(crate) fn within(self, issuer_until: u64) -> Self {
        Self { until: self.until.min(issuer_until), ..self }
    }

    pub(crate) fn apply(self, params: &mut rcgen::CertificateParams) {
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + Duration::from_secs(self.from);
        params.not_after = epoch + Duration::from_secs(self.until);
    }
}
