//! Time of the state machine: nanoseconds since the pool was built.

use std::time::Duration;

/// Nanoseconds since the pool was built.
pub(crate) type Time = u64;

pub(crate) const SECOND: Time = 1_000_000_000;
pub(crate) const MINUTE: Time = 60 * SECOND;

/// Value for a time that is known only when an attempt ends.
pub(crate) const RELEASE: Time = Time::MAX - 1;
/// Value for a time that is not known.
pub(crate) const NEVER: Time = Time::MAX;

/// Returns a duration in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> Time {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
