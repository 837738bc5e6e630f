//! The current time in the API's types.

use copepod_base::clock;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// The current time as a timestamp; the earliest one possible for a clock that is out of all ranges.
#[must_use]
pub fn timestamp() -> Timestamp {
    Timestamp::try_from(clock::now()).unwrap_or(Timestamp::MIN)
}

/// The current time for fields in whole seconds.
#[must_use]
pub fn now() -> Time {
    Time(timestamp())
}

/// The current time for fields with microseconds (Leases, events.k8s.io).
#[must_use]
pub fn now_micro() -> MicroTime {
    MicroTime(timestamp())
}
