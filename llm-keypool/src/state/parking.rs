//! Parking of a part of a pool.
//!
//! A parking ends in two steps. When its time is over, the next call is sent as the probe, and other calls wait for its
//! response for a bounded time. Then the outcome of the probe decides: a success ends the parking, a refusal begins the
//! next, longer parking, and if the probe is dropped, another call becomes the probe. Outcomes of attempts that were
//! sent before the parking are ignored. They are recognised by their numbers.

use std::time::Duration;

use llm_core::layer::Backoff;

use crate::{
    Reason,
    time::{MINUTE, Return, SECOND, Time, nanos},
};

/// Parking of a part: the part takes no calls until a time, and then one call as a probe.
#[derive(Clone, Debug)]
pub(crate) struct Parking {
    pub(crate) reason: Reason,
    pub(crate) since: Time,
    pub(crate) until: Time,
    /// Number of the latest attempt that was sent before the parking. Attempts up to it neither prolong nor end the
    /// parking.
    generation: u64,
    /// Number of consecutive parkings; 0 for a trial. A trial becomes a parking if its call is refused.
    pub(crate) step: u32,
    /// True if waiting calls may wait for the end of the parking. Otherwise they fail, and only a new call becomes the
    /// probe.
    pub(crate) is_timed: bool,
    /// Number of the attempt that is the probe, and the time at which it was sent.
    probe: Option<(u64, Time)>,
    /// Time for which other calls wait for the probe's response.
    probe_wait: Time,
}

/// Parking of a part; `None` if the part is not parked. The parking is boxed because few parts are parked, and a choice
/// reads many parts, which should be small.
pub(crate) type Slot = Option<Box<Parking>>;

/// Time for which other calls wait for the probe's response. A refusal usually arrives sooner.
const PROBE_WAIT: Time = SECOND;
/// Time for which other calls wait for the response to a trial.
const TRIAL_WAIT: Time = 5 * SECOND;
/// Time for which other calls wait for the probe of a paused pool, or of a member that timed out, because only a
/// response to this probe is conclusive. After this time the next call becomes the probe.
const PROBE_TIMEOUT: Time = MINUTE;
/// Time until the probe after a refusal whose cause usually lasts until an operator acts or the key is replaced.
const VERDICT: Time = 10 * MINUTE;
/// Longest parking that a waiting time stated by the vendor can cause. The vendor may be wrong, so a probe is sent
/// after this time.
const LONGEST_HINT: Time = 15 * MINUTE;
/// Factor by which the parking after a breaker opens is longer than the backoff after a rate limit.
const BREAKER: Time = 5;

/// Returns the duration of the `step`-th consecutive parking. `hint` is the waiting time that the vendor stated.
pub(super) fn length(reason: Reason, hint: Option<Duration>, step: u32, backoff: &Backoff) -> Time {
    match (reason, hint) {
        (Reason::RateLimited | Reason::Unpaid, Some(hint)) => nanos(hint).min(LONGEST_HINT),
        (Reason::RateLimited, None) => nanos(backoff.bound(step) + backoff.wait(step)) / 2,
        (Reason::Failing | Reason::TimedOut, _) => nanos(backoff.bound(step)).saturating_mul(BREAKER).min(MINUTE),
        _ => VERDICT,
    }
}

impl Parking {
    /// Returns the number of consecutive parkings, including a new one for `reason` that follows `before`.
    pub(crate) fn step(reason: Reason, before: Option<&Self>) -> u32 {
        before.filter(|before| before.reason == reason).map_or(1, |before| before.step.saturating_add(1))
    }

    /// Creates a parking that follows `before`, the current parking if there is one.
    pub(crate) fn new(reason: Reason, length: Time, before: Option<&Self>, generation: u64, now: Time) -> Self {
        let (step, since) = (Self::step(reason, before), before.map_or(now, |before| before.since));
        Self { step, since, ..Self::until(reason, now.saturating_add(length), generation, now) }
    }

    /// Creates a first parking, which lasts until the time `until`.
    pub(crate) fn until(reason: Reason, until: Time, generation: u64, now: Time) -> Self {
        // The probe of a member that timed out may be slow again, so that one second without a response is not
        // conclusive.
        let probe_wait = if reason == Reason::TimedOut { PROBE_TIMEOUT } else { PROBE_WAIT };
        let is_timed = reason.is_failure() || matches!(reason, Reason::RateLimited | Reason::Disabled);
        Self { reason, since: now, until, generation, step: 1, is_timed, probe: None, probe_wait }
    }

    /// Creates a parking from its values in a snapshot.
    pub(crate) fn restored(reason: Reason, until: Time, step: u32, is_timed: bool, now: Time) -> Self {
        Self { step, is_timed, ..Self::until(reason, until, 0, now) }
    }

    /// Creates a trial: one call is sent at once as the probe, and others wait for its response.
    pub(crate) fn trial(generation: u64, now: Time) -> Self {
        Self { step: 0, probe_wait: TRIAL_WAIT, ..Self::until(Reason::RateLimited, now, generation, now) }
    }

    /// Creates a pause of the whole pool, after which one call is the probe.
    pub(crate) fn pause(length: Time, before: Option<&Self>, generation: u64, now: Time) -> Self {
        Self { probe_wait: PROBE_TIMEOUT, ..Self::new(Reason::RateLimited, length, before, generation, now) }
    }

    /// Returns `true` if an attempt was sent after the parking began, so that its outcome counts.
    pub(crate) fn concerns(&self, attempt: u64) -> bool {
        attempt > self.generation
    }

    /// Returns the time from which a call may be sent, as far as it is known now.
    pub(crate) fn opens_at(&self) -> Time {
        self.probe.map_or(self.until, |(_, at)| at.saturating_add(self.probe_wait))
    }

    /// Returns the time at which waiting calls may be sent. While a probe is in flight, that may be any time from now
    /// on, because the probe's response ends the waiting.
    pub(crate) fn returns(&self, now: Time) -> Return {
        match self.opens_at() {
            at if at <= now => Return::NOW,
            _ if !self.is_timed => Return::NEVER,
            at if self.probe.is_some() => Return::released(now, at),
            at => Return::at(at),
        }
    }

    /// Returns `true` if the next call becomes the probe: the parking time is over, and there is no probe, or a probe
    /// that may take [`PROBE_TIMEOUT`] has had no response in this time.
    pub(crate) fn awaits_probe(&self, now: Time) -> bool {
        self.opens_at() <= now && (self.probe.is_none() || self.probe_wait == PROBE_TIMEOUT)
    }

    /// Makes an attempt the probe.
    pub(crate) fn probe(&mut self, attempt: u64, now: Time) {
        self.probe = Some((attempt, now));
    }

    /// Removes an attempt as the probe, so that another attempt may become the probe. Returns `true` if the attempt was
    /// the probe.
    pub(crate) fn return_probe(&mut self, attempt: u64) -> bool {
        self.probe.take_if(|(first, _)| *first == attempt).is_some()
    }
}
