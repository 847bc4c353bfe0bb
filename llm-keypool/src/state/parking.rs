//! Parking of a group, a quota, a member or a permission.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{MINUTE, SECOND, Time, nanos};

/// Reason why a member or group takes no calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// A rate limit (429).
    RateLimited,
    /// The key is wrong, expired or revoked (401).
    Unauthorized,
    /// The account has no money or quota left (402).
    Unpaid,
    /// The key may not use the model, or any (403).
    Forbidden,
    /// The member does not know the model (404).
    NotFound,
    /// Failures of the vendor or the connection in a row.
    Failing,
    /// No response in time, several times.
    TimedOut,
    /// An operator disabled it.
    Disabled,
}

/// Parking: until a time nothing is sent, then one call goes first.
#[derive(Clone, Debug)]
pub(crate) struct Parking {
    pub(crate) reason: Reason,
    pub(crate) since: Time,
    pub(crate) until: Time,
    /// Attempts up to this number were sent before it, and neither prolong nor end it.
    pub(crate) generation: u64,
    /// Number of parkings in a row.
    pub(crate) step: u32,
    /// `true` if the parking ends by time, so that calls wait for its end.
    pub(crate) is_timed: bool,
    probe: Option<Probe>,
}

/// The first call after a parking.
#[derive(Clone, Copy, Debug)]
struct Probe {
    attempt: u64,
    at: Time,
}

/// Time that other calls wait for the response to the first one: a refusal takes no longer.
const PROBE_WAIT: Time = SECOND;
/// The same for a call that tries if a limit is one, or if a vendor is back for all.
const TRIAL_WAIT: Time = 5 * SECOND;
/// Time after which a first call without a response loses its turn.
const PROBE_TIMEOUT: Time = MINUTE;
/// Time after which a first call is tried where only an operator or a new key is known to help.
const VERDICT: Time = 10 * MINUTE;
/// Longest time that a vendor's hint keeps calls away: it may be wrong, so one call tries after that.
const LONGEST_HINT: Time = 15 * MINUTE;

impl Reason {
    /// Returns the reason as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Unauthorized => "unauthorized",
            Self::Unpaid => "unpaid",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Failing => "failing",
            Self::TimedOut => "timed_out",
            Self::Disabled => "disabled",
        }
    }

    /// Returns `true` if a parking ends by time, so that calls wait for it.
    fn is_timed(self, has_hint: bool) -> bool {
        matches!(self, Self::RateLimited | Self::Failing | Self::TimedOut | Self::Disabled)
            || (self == Self::Unpaid && has_hint)
    }

    /// Returns the length of a parking: by the vendor's hint, or the `step`-th one in a row. `jitter` is below 2^32.
    fn length(self, hint: Option<Duration>, step: u32, jitter: u32) -> Time {
        let backoff = |first: Time| first.saturating_mul(1 << (step.saturating_sub(1)).min(16)).min(MINUTE);
        match (self, hint) {
            (Self::RateLimited | Self::Unpaid, Some(hint)) => nanos(hint).min(LONGEST_HINT),
            (Self::RateLimited, None) => {
                let bound = backoff(SECOND);
                bound / 2 + ((((bound / 2) >> 8) * u64::from(jitter)) >> 24)
            }
            (Self::Failing | Self::TimedOut, _) => backoff(5 * SECOND),
            _ => VERDICT,
        }
    }
}

impl Parking {
    /// Creates a parking after the one before it, if it was not ended.
    pub(crate) fn new(
        reason: Reason,
        hint: Option<Duration>,
        before: Option<&Self>,
        generation: u64,
        jitter: u32,
        now: Time,
    ) -> Self {
        let step = before.filter(|before| before.reason == reason).map_or(1, |before| before.step + 1);
        let since = before.map_or(now, |before| before.since);
        let until = now.saturating_add(reason.length(hint, step, jitter));
        Self { reason, since, until, generation, step, is_timed: reason.is_timed(hint.is_some()), probe: None }
    }

    /// Creates a parking until a time, by an operator or from a snapshot.
    pub(crate) fn until(reason: Reason, until: Time, generation: u64, now: Time) -> Self {
        Self { reason, since: now, until, generation, step: 1, is_timed: reason.is_timed(false), probe: None }
    }

    /// Creates a parking for the time in which one call tries if a limit is one.
    pub(crate) fn trial(generation: u64, now: Time) -> Self {
        Self { step: 0, ..Self::until(Reason::RateLimited, now, generation, now) }
    }

    /// Returns `true` if an attempt was sent after it, so that its outcome counts.
    pub(crate) fn concerns(&self, attempt: u64) -> bool {
        attempt > self.generation
    }

    /// Returns the time from which a call may be sent, as far as it is known now.
    pub(crate) fn opens_at(&self) -> Time {
        match self.probe {
            None => self.until,
            Some(probe) => probe.at.saturating_add(self.probe_bound()),
        }
    }

    /// Returns `true` if others wait for the response to the first call, which may come at any time.
    pub(crate) fn awaits_response(&self, now: Time) -> bool {
        let is_waited_for = self.is_exclusive() || self.step == 0;
        is_waited_for && self.probe.is_some_and(|probe| now < probe.at + self.probe_bound())
    }

    /// Returns `true` if the next call would be the first.
    pub(crate) fn awaits_probe(&self, now: Time) -> bool {
        self.until <= now && self.probe.is_none_or(|probe| self.is_exclusive() && probe.at + PROBE_TIMEOUT <= now)
    }

    /// Lets an attempt go first, if none did.
    pub(crate) fn probe(&mut self, attempt: u64, now: Time) {
        if self.awaits_probe(now) {
            self.probe = Some(Probe { attempt, at: now });
        }
    }

    /// Takes the turn back from an attempt that ended without an outcome. Returns `true` if it had it.
    pub(crate) fn return_probe(&mut self, attempt: u64) -> bool {
        let had_it = self.probe.is_some_and(|probe| probe.attempt == attempt);
        self.probe = self.probe.filter(|_| !had_it);
        had_it
    }

    /// Returns true if others wait for the response itself: what timed out says nothing by being silent for a second.
    fn is_exclusive(&self) -> bool {
        self.reason == Reason::TimedOut
    }

    fn probe_bound(&self) -> Time {
        match self.step {
            0 => TRIAL_WAIT,
            _ if self.is_exclusive() => PROBE_TIMEOUT,
            _ => PROBE_WAIT,
        }
    }
}
