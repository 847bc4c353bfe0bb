//! Quota of a group for a model, as its vendor names it.

use llm_core::{
    Usage,
    layer::{VendorLimit, VendorLimits},
};

use super::{
    counter::{Counter, Learned, Room},
    parking::Parking,
};
use crate::{
    group::{GroupLimit, Unit},
    time::{MINUTE, Time, nanos},
};

/// Counters of a quota, and its parking.
///
/// Requests are always counted, tokens once a limit of them is known.
#[derive(Debug)]
pub(crate) struct Quota {
    requests: Counter,
    pub(crate) parking: Option<Parking>,
    /// Counters of tokens of all kinds, by [`Unit`] without the first.
    tokens: [Option<Box<Counter>>; 3],
    share: u8,
}

/// Amounts of an attempt, by [`Unit`].
pub(crate) type Amounts = [u64; 4];

/// Amounts that a quota has counted for an attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    amounts: Amounts,
    slices: [u64; 4],
    /// Own use when the attempt was sent, with it.
    own: [u64; 4],
}

/// Longest time for which nothing is left of a limit whose window is not counted.
const LONGEST_RESET: Time = 24 * 60 * MINUTE;

/// A learned limit may be tried by a first call after a parking if it has no room for this long.
const RETRY_LEARNED: Time = 5 * crate::time::SECOND;

impl Quota {
    pub(crate) fn new(limits: &[GroupLimit], share: u8) -> Self {
        let mut quota = Self { requests: Counter::new(share), tokens: Default::default(), parking: None, share };
        quota.give(limits, share);
        quota
    }

    /// Sets what an operator gave, and keeps what was learned.
    pub(crate) fn give(&mut self, limits: &[GroupLimit], share: u8) {
        self.share = share;
        for unit in Unit::ALL {
            let given = limits.iter().filter(|limit| limit.unit == unit).map(|limit| limit.amount).min();
            if given.is_some() {
                self.counter(unit as usize);
            }
            for (_, counter) in self.counters().filter(|(of, _)| *of == unit as usize) {
                counter.give(given, share);
            }
        }
    }

    /// Returns the counters that there are, by unit.
    fn counters(&mut self) -> impl Iterator<Item = (usize, &mut Counter)> {
        let tokens = self.tokens.iter_mut().enumerate();
        let tokens = tokens.filter_map(|(at, counter)| Some((at + 1, &mut **counter.as_mut()?)));
        std::iter::once((0, &mut self.requests)).chain(tokens)
    }

    /// Returns a counter, which is created if there is none.
    fn counter(&mut self, unit: usize) -> &mut Counter {
        match unit.checked_sub(1) {
            None => &mut self.requests,
            Some(at) => self.tokens[at].get_or_insert_with(|| Counter::new(self.share).into()),
        }
    }

    /// Returns the room for an attempt. Learned limits do not count if `over_learned`.
    pub(crate) fn room(&mut self, amounts: &Amounts, over_learned: bool, now: Time) -> Room {
        self.counters().fold(Room::OPEN, |room, (unit, it)| room.and(it.room(amounts[unit], over_learned, now)))
    }

    /// Returns `true` if the next attempt may exceed a learned limit: it is the first after a parking, or the limit is
    /// doubtful.
    pub(crate) fn may_try_more(&self, now: Time) -> bool {
        match &self.parking {
            Some(parking) => parking.awaits_probe(now),
            None => {
                let mut counters = self.tokens.iter().flatten().map(|counter| &**counter).chain([&self.requests]);
                counters.any(Counter::is_doubtful)
            }
        }
    }

    /// Returns the room for an attempt that may exceed a learned limit, and if it does. It does only if the limit has no room
    /// for long, so that a refusal with another cause does not keep the group away.
    pub(crate) fn room_to_try(&mut self, amounts: &Amounts, now: Time) -> (Room, bool) {
        let room = self.room(amounts, false, now);
        if room.at <= now + RETRY_LEARNED {
            return (room, false);
        }
        let over = self.room(amounts, true, now);
        if over.at <= now { (over, true) } else { (room, false) }
    }

    /// Counts an attempt.
    pub(crate) fn take(&mut self, amounts: &Amounts, now: Time) -> Taken {
        let mut taken = Taken::default();
        for (unit, counter) in self.counters() {
            taken.amounts[unit] = counter.counted(amounts[unit]);
            (taken.slices[unit], taken.own[unit]) = counter.take(taken.amounts[unit], now);
        }
        taken
    }

    /// Takes an attempt back that the vendor refused, and so did not count.
    pub(crate) fn give_back(&mut self, taken: &mut Taken) {
        for (unit, counter) in self.counters() {
            counter.change(taken.slices[unit], taken.amounts[unit], 0);
        }
        taken.amounts = Amounts::default();
    }

    /// Settles the tokens of an attempt by its usage. `tokens` stay as they were reserved; input counts without cached
    /// reads, where it was sent; output counts when it has ended.
    pub(crate) fn settle(&mut self, taken: &Taken, usage: &Usage, now: Time) {
        let [_, input, output] = &mut self.tokens;
        if let Some(counter) = input {
            let unit = Unit::InputTokens as usize;
            counter.change(taken.slices[unit], taken.amounts[unit], usage.input.saturating_sub(usage.cache_read));
        }
        if let Some(counter) = output {
            let unit = Unit::OutputTokens as usize;
            counter.change(taken.slices[unit], taken.amounts[unit], 0);
            counter.take(usage.output, now);
        }
    }

    /// Takes the limits that the vendor stated with the response to an attempt.
    pub(crate) fn observe(&mut self, limits: &VendorLimits, taken: &Taken, now: Time) {
        let stated = [limits.requests, limits.tokens, limits.input_tokens, limits.output_tokens];
        for (unit, limit) in stated.into_iter().enumerate() {
            let Some(limit) = limit else { continue };
            let window = limit.window.map(nanos);
            if window == Some(MINUTE) {
                self.counter(unit).observe(limit.limit, limit.remaining, taken.own[unit], now);
            } else if let (Some(0), Some(reset)) = (limit.remaining, limit.reset) {
                self.counter(unit).exhaust(now.saturating_add(nanos(reset).min(LONGEST_RESET)));
            }
        }
        for further in &limits.further_windows {
            self.observe(further, taken, now);
        }
    }

    /// Learns from a refusal: the limit of the units of which the vendor says that nothing is left, else of requests.
    pub(crate) fn learn(&mut self, limits: Option<&VendorLimits>, may_be_common: bool, now: Time) {
        let stated = limits.map(|limits| [limits.requests, limits.tokens, limits.input_tokens, limits.output_tokens]);
        let stated = stated.unwrap_or_default();
        let is_exhausted = |limit: &Option<VendorLimit>| limit.is_some_and(|limit| limit.remaining == Some(0));
        let any = stated.iter().any(is_exhausted);
        for (unit, counter) in self.counters() {
            if if any { is_exhausted(&stated[unit]) } else { unit == Unit::Requests as usize } {
                counter.learn(may_be_common, now);
            }
        }
    }

    /// Takes that an attempt beyond the learned limits was served.
    pub(crate) fn raise_learned(&mut self) {
        self.counters().for_each(|(_, counter)| counter.raise_learned());
    }

    /// Takes that an attempt beyond the learned limits was refused.
    pub(crate) fn confirm_learned(&mut self) {
        self.counters().for_each(|(_, counter)| counter.confirm_learned());
    }

    /// Adds the own use of the same quota under another group.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        for (unit, counter) in other.counters() {
            self.counter(unit).absorb(counter);
        }
    }

    /// Returns the share of the tightest limit that is left, of [`WHOLE`](super::counter::WHOLE).
    pub(crate) fn headroom(&mut self, now: Time) -> u32 {
        self.room(&[0; 4], false, now).share
    }

    /// Returns limit and own use of each unit.
    pub(crate) fn levels(&mut self, now: Time) -> [Option<(Option<u64>, u64)>; 4] {
        let mut levels = [None; 4];
        self.counters().for_each(|(unit, it)| levels[unit] = Some((it.limit(now), it.own(now))));
        levels
    }

    /// Returns what is known of the limits: stated and learned ones.
    pub(crate) fn known(&mut self) -> [(Option<u64>, Option<Learned>); 4] {
        let mut known = [(None, None); 4];
        self.counters().for_each(|(unit, it)| known[unit] = (it.stated(), it.learned()));
        known
    }

    /// Sets what an earlier pool knew of the limits.
    pub(crate) fn restore(&mut self, known: [(Option<u64>, Option<Learned>); 4]) {
        for (unit, (stated, learned)) in known.into_iter().enumerate() {
            if stated.is_some() || learned.is_some() {
                self.counter(unit).restore(stated, learned);
            }
        }
    }
}
