//! Quota of a group for one model, which is identified by the name that the vendor uses.

use std::time::Duration;

use llm_core::{
    Error, Usage,
    layer::{VendorLimit, VendorLimits},
};

use super::{
    counter::{Counter, Room},
    parking::Slot,
};
use crate::{
    group::{Amounts, GroupLimit, Unit},
    time::{MINUTE, Time, nanos},
};

/// Limits and usage of a group for one model.
///
/// Requests are always counted. Tokens are counted once a limit of tokens is known.
#[derive(Clone, Debug)]
pub(crate) struct Quota {
    pub(crate) group: u32,
    /// Id of the model, under the name that the group's members use for it.
    pub(crate) model: u32,
    pub(crate) parking: Slot,
    /// Counters by [`Unit`].
    counters: [Option<Box<Counter>>; 4],
    share: u8,
}

/// Amounts that were counted for an attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// Time at which the attempt was sent.
    pub(crate) sent_at: Time,
    /// Amounts by [`Unit`]. They have 32 bits, because attempts are moved in memory and no attempt takes more tokens.
    amounts: [u32; 4],
    /// Largest number of output tokens that the attempt was expected to use, before the expected share was applied.
    output: u32,
    /// The pool's own usage when the attempt was sent. It includes the attempt, unless the vendor refused the attempt.
    own: Amounts,
}

/// Shortest time without room under a learned limit after which an attempt may exceed that limit.
const RETRY_LEARNED: Time = 5 * crate::time::SECOND;

impl Quota {
    /// Creates a quota with the limits that an operator gave.
    pub(crate) fn new(group: u32, model: u32, limits: &[GroupLimit], share: u8) -> Self {
        let mut quota = Self { group, model, parking: None, counters: Default::default(), share };
        quota.counter(Unit::Requests as usize);
        limits.iter().for_each(|limit| quota.counter(limit.unit as usize).give(limit.amount));
        quota
    }

    /// Returns the existing counters with their units.
    pub(crate) fn counters(&mut self) -> impl Iterator<Item = (usize, &mut Counter)> {
        self.counters.iter_mut().enumerate().filter_map(|(unit, counter)| Some((unit, &mut **counter.as_mut()?)))
    }

    /// Returns the counter of a unit, and creates it if it does not exist.
    pub(crate) fn counter(&mut self, unit: usize) -> &mut Counter {
        self.counters[unit].get_or_insert_with(|| Counter::new(self.share).into())
    }

    /// Returns the room for an attempt. Learned limits are ignored if `over_learned` is set.
    pub(crate) fn room(&mut self, amounts: &Amounts, over_learned: bool, now: Time) -> Room {
        self.counters().fold(Room::OPEN, |room, (unit, it)| room.and(it.room(amounts[unit], over_learned, now)))
    }

    /// Returns the room for an attempt, and `true` if the attempt then exceeds a learned limit. An attempt may exceed a
    /// learned limit only if the limit will have no room for at least [`RETRY_LEARNED`], the pool is not paused, and
    /// the attempt is a probe or the limit is doubtful. So a limit that was learned from a refusal with another cause
    /// does not keep the group idle.
    pub(crate) fn room_to_try(&mut self, amounts: &Amounts, is_paused: bool, now: Time) -> (Room, bool) {
        let room = self.room(amounts, false, now);
        if room.at <= now + RETRY_LEARNED || is_paused {
            return (room, false);
        }
        let may_try = match &self.parking {
            Some(parking) => parking.awaits_probe(now),
            None => self.counters.iter().flatten().any(|counter| counter.is_doubtful()),
        };
        let over = self.room(amounts, true, now);
        if may_try && over.at <= now { (over, true) } else { (room, false) }
    }

    /// Counts the amounts of an attempt, and returns the counted amounts.
    pub(crate) fn take(&mut self, amounts: &Amounts, now: Time) -> Taken {
        let small = |amount| u32::try_from(amount).unwrap_or(u32::MAX);
        let output = small(amounts[Unit::OutputTokens as usize]);
        let mut taken = Taken { sent_at: now, output, ..Taken::default() };
        for (unit, counter) in self.counters() {
            taken.amounts[unit] = small(counter.counted(amounts[unit]));
            taken.own[unit] = counter.own.add(taken.amounts[unit].into(), now);
        }
        taken
    }

    /// Removes the amounts of an attempt that the vendor refused, and therefore did not count.
    pub(crate) fn give_back(&mut self, taken: &mut Taken) {
        for (unit, counter) in self.counters() {
            counter.own.change(taken.sent_at, taken.amounts[unit].into(), 0);
            taken.own[unit] = taken.own[unit].saturating_sub(taken.amounts[unit].into());
        }
        taken.amounts = Default::default();
    }

    /// Replaces the reserved tokens of an attempt by its usage. Total tokens stay as they were reserved. Input tokens
    /// count without cached reads, at the time at which the attempt was sent. Output tokens count at the end of the
    /// attempt, and update the share of their largest outputs that further attempts are expected to use.
    pub(crate) fn settle(&mut self, taken: &Taken, usage: &Usage, now: Time) {
        let [_, _, input, output] = &mut self.counters;
        if let Some(counter) = input {
            let unit = Unit::InputTokens as usize;
            counter.own.change(taken.sent_at, taken.amounts[unit].into(), usage.input.saturating_sub(usage.cache_read));
        }
        if let Some(counter) = output {
            let unit = Unit::OutputTokens as usize;
            counter.own.change(taken.sent_at, taken.amounts[unit].into(), 0);
            counter.own.add(usage.output, now);
            counter.expect(taken.output.into(), usage.output);
        }
    }

    /// Records the limits that the vendor stated with the response to an attempt. The pool does not count windows other
    /// than a minute. If nothing is left of a limit with another window, the function returns the time until its reset,
    /// or the longest of several such times.
    pub(crate) fn observe(&mut self, limits: &VendorLimits, taken: &Taken, now: Time) -> Option<Duration> {
        let mut exhausted = None;
        for (unit, limit) in stated(limits).into_iter().enumerate() {
            let Some(limit) = limit else { continue };
            if limit.window.map(nanos) == Some(MINUTE) {
                self.counter(unit).observe(limit.limit, limit.remaining, taken.own[unit], now);
            } else if limit.remaining == Some(0) {
                exhausted = exhausted.max(limit.reset.filter(|reset| !reset.is_zero()));
            }
        }
        let further = limits.further_windows.iter().filter_map(|further| self.observe(further, taken, now)).max();
        exhausted.max(further)
    }

    /// Learns limits from the refusal of an attempt: for each unit of which nothing is left according to the vendor, or
    /// for requests if the vendor states none. Returns `true` if a limit that was learned before explains the refusal.
    pub(crate) fn learn(&mut self, error: &Error, taken: &Taken, may_be_common: bool, now: Time) -> bool {
        let stated = error.limits().map(stated).unwrap_or_default();
        let is_exhausted = |limit: &Option<VendorLimit>| limit.is_some_and(|limit| limit.remaining == Some(0));
        let any = stated.iter().any(is_exhausted);
        let mut is_explained = false;
        for (unit, counter) in self.counters() {
            let is_cause = if any { is_exhausted(&stated[unit]) } else { unit == Unit::Requests as usize };
            is_explained |= is_cause && counter.learn(taken.own[unit], may_be_common, now);
        }
        is_explained
    }

    /// Records if an attempt beyond the learned limits was served or refused.
    pub(crate) fn tried_more(&mut self, is_served: bool) {
        self.counters().for_each(|(_, counter)| counter.tried_more(is_served));
    }

    /// Adds the usage that another group's quota counted for the same model.
    pub(crate) fn absorb(&mut self, other: &Self) {
        for (own, other) in self.counters.iter_mut().zip(&other.counters) {
            match (own, other) {
                (Some(own), Some(other)) => own.own.absorb(&other.own),
                (own @ None, other) => own.clone_from(other),
                (Some(_), None) => {}
            }
        }
    }
}

/// Returns the limits that a vendor stated, by [`Unit`]. A limit of 0 means no limit, because servers send it for
/// limits that they do not have. An account that may send nothing gets a refusal instead.
fn stated(limits: &VendorLimits) -> [Option<VendorLimit>; 4] {
    let VendorLimits { requests, tokens, input_tokens, output_tokens, .. } = limits;
    [requests, tokens, input_tokens, output_tokens].map(|limit| limit.filter(|limit| limit.limit != Some(0)))
}
