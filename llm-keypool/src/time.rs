//! Time of the state machine: nanoseconds since the pool was built.

use std::time::Duration;

/// Nanoseconds since the pool was built.
pub(crate) type Time = u64;

pub(crate) const SECOND: Time = 1_000_000_000;
pub(crate) const MINUTE: Time = 60 * SECOND;

/// Time at which a part of the pool takes calls again, as a range between the soonest and the latest possible time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Return {
    pub(crate) soonest: Time,
    pub(crate) latest: Time,
}

impl Return {
    /// Return of a part that takes calls now.
    pub(crate) const NOW: Self = Self::at(0);
    /// Return of a part for which no time is known.
    pub(crate) const NEVER: Self = Self::at(Time::MAX);

    /// Creates a range that is a single known time.
    pub(crate) const fn at(time: Time) -> Self {
        Self { soonest: time, latest: time }
    }

    /// Creates the range for a part that takes calls when an attempt ends: that may be `now`, and is no later than
    /// `latest`.
    pub(crate) fn released(now: Time, latest: Time) -> Self {
        Self { soonest: now, latest }
    }

    /// Returns the time at which both of two parts take calls.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { soonest: self.soonest.max(other.soonest), latest: self.latest.max(other.latest) }
    }

    /// Returns the time at which the first of two parts takes calls.
    pub(crate) fn or(self, other: Self) -> Self {
        Self { soonest: self.soonest.min(other.soonest), latest: self.latest.min(other.latest) }
    }
}

/// Returns a duration in nanoseconds, at most `u64::MAX`.
pub(crate) fn nanos(duration: Duration) -> Time {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
