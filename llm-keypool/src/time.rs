//! Time of the state machine: nanoseconds since the pool was built.

use std::time::Duration;

/// Nanoseconds since the pool was built.
pub(crate) type Time = u64;

pub(crate) const SECOND: Time = 1_000_000_000;
pub(crate) const MINUTE: Time = 60 * SECOND;

/// Time at which something takes calls again, so far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Return {
    pub(crate) soonest: Time,
    pub(crate) latest: Time,
}

impl Return {
    /// It takes calls now.
    pub(crate) const NOW: Self = Self::at(0);
    /// No time is known.
    pub(crate) const NEVER: Self = Self::at(Time::MAX);

    /// Creates the return at a known time.
    pub(crate) const fn at(time: Time) -> Self {
        Self { soonest: time, latest: time }
    }

    /// Creates the return when an attempt ends, which may be now, but no later than at a time.
    pub(crate) fn released(now: Time, latest: Time) -> Self {
        Self { soonest: now, latest }
    }

    /// Returns the return of two parts that must both take calls.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { soonest: self.soonest.max(other.soonest), latest: self.latest.max(other.latest) }
    }

    /// Returns the return of the first of two parts.
    pub(crate) fn or(self, other: Self) -> Self {
        Self { soonest: self.soonest.min(other.soonest), latest: self.latest.min(other.latest) }
    }
}

/// Returns a duration in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> Time {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
