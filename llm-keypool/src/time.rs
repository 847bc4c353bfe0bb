//! Time of the state machine: nanoseconds since the pool was built.

use std::time::Duration;

/// Nanoseconds since the pool was built.
pub(crate) type Time = u64;

pub(crate) const SECOND: Time = 1_000_000_000;
pub(crate) const MINUTE: Time = 60 * SECOND;

/// Returns a duration in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> Time {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
