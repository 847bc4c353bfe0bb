//! Counter of one unit of a quota, with the limits that are known for it.
//!
//! Three limits apply together:
//!
//! - The operator sets the *given* limit.
//! - The vendor states the *stated* limit in its responses, with the amount that remains. The counter attributes usage
//!   beyond this pool's own usage to other processes, and assumes that it leaves the window evenly within a minute.
//! - The *learned* limit is the pool's own usage when it sent an attempt that the vendor refused, if the other two limits
//!   do not explain the refusal.
//!
//! A refusal may have another cause than usage. Therefore a learned limit grows as long as no further refusal follows,
//! and a probe after a parking may exceed it. While the limit is doubtful and nothing is parked, any attempt may exceed
//! it. If the vendor refuses such an attempt, the limit is confirmed. If the vendor serves it, a doubtful limit is
//! dropped, and any other limit is raised.

use crate::{
    time::{MINUTE, SECOND, Time},
    window::Window,
};

/// Counter of a unit: the pool's own usage in the window, the usage by others, and the known limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter {
    given: Option<u64>,
    stated: Option<u64>,
    learned: Option<Learned>,
    /// Percentage of the given or stated limit that this pool may use.
    share: u8,
    /// Usage by this pool in the window.
    pub(crate) own: Window,
    others: Others,
    /// Latest time at which the vendor stated that at most a fifth of the limit was left.
    scarce_at: Time,
    /// Share of its reserved amount that an attempt is expected to use, in parts of [`WHOLE`].
    expected: u32,
}

/// Limit that was learned from a refusal.
#[derive(Clone, Copy, Debug, Default)]
struct Learned {
    amount: u64,
    at: Time,
    /// True if the refusal may have had a common cause, and no later refusal has confirmed the limit.
    is_doubtful: bool,
    /// `true` if other processes used the rest of the known limit.
    is_shared: bool,
    /// Number of consecutive attempts that exceeded the limit and were served.
    trials: u32,
}

/// Usage by other processes. It is assumed to leave the window evenly in the minute after the vendor stated the
/// remaining amount.
#[derive(Clone, Copy, Debug, Default)]
struct Others {
    amount: u64,
    at: Time,
}

/// Room for an amount under one or several limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Time from which the amount fits if no other attempt is counted; now or earlier if it fits already.
    pub(crate) at: Time,
    /// Share of the limit that is left, as a part of [`WHOLE`].
    pub(crate) share: u32,
}

/// Value of a share that is the whole.
pub(crate) const WHOLE: u32 = 1 << 16;

/// Time after which a call checks the counter again if other processes have used up the limit.
const OTHERS_RECHECK: Time = SECOND;

/// Divisor of a limit. A refusal is attributed to the limit if the usage was at most this part (1/20) of the limit
/// below it.
const TOLERANCE: u64 = 20;

/// Time for which a learned limit grows by 0.5 % a minute, before it begins to double each minute.
const SLOW_GROWTH: Time = 10 * MINUTE;

impl Room {
    /// Room of a counter without limits.
    pub(crate) const OPEN: Self = Self { at: 0, share: WHOLE };

    /// Returns the room under two limits that apply together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { at: self.at.max(other.at), share: self.share.min(other.share) }
    }

    /// Returns `true` if the amount fits now, and more than a hundredth of the limit is left.
    pub(crate) fn is_ample(self, now: Time) -> bool {
        self.at <= now && self.share > WHOLE / 100
    }
}

impl Learned {
    /// Returns the limit including its growth since the refusal. From a minute after the refusal, the limit grows by
    /// 0.5 % a minute. After ten more minutes, it doubles each minute, because a refusal that had another cause than
    /// use must not throttle the group forever.
    fn amount(self, now: Time) -> u64 {
        let quiet = now.saturating_sub(self.at).saturating_sub(MINUTE);
        let slow = quiet.min(SLOW_GROWTH) / SECOND;
        let fast = (quiet.saturating_sub(SLOW_GROWTH) / MINUTE).min(63);
        let grown = self.amount.saturating_add(self.amount.saturating_mul(slow) / (200 * 60));
        grown.saturating_mul(1 << fast)
    }
}

impl Counter {
    /// Creates a counter without limits. `share` is the percentage of a limit, once one is known, that may be used.
    pub(crate) fn new(share: u8) -> Self {
        Self { share, expected: WHOLE, ..Self::default() }
    }

    /// Sets a limit that an operator gave. The smallest of several given limits applies.
    pub(crate) fn give(&mut self, given: u64) {
        self.given = Some(self.given.map_or(given, |before| before.min(given)));
    }

    /// Returns the smallest limit that is known.
    pub(crate) fn limit(&self, now: Time) -> Option<u64> {
        self.known_limit().into_iter().chain(self.learned.map(|learned| learned.amount(now))).min()
    }

    /// Returns the usable share of the smaller of the given and the stated limit, but at least 1; `None` if neither
    /// limit is known.
    fn known_limit(&self) -> Option<u64> {
        let known = [self.given, self.stated].into_iter().flatten().min()?;
        Some(((u128::from(known) * u128::from(self.share) / 100) as u64).max(1))
    }

    /// Returns the amount that counts for an attempt, which is the expected share of its reserved `amount`. Returns 0
    /// if that share exceeds the whole known limit, so that the attempt is sent and the vendor itself refuses it.
    pub(crate) fn counted(&self, amount: u64) -> u64 {
        let amount = (u128::from(amount) * u128::from(self.expected)).div_ceil(WHOLE.into()) as u64;
        if self.known_limit().is_some_and(|limit| amount > limit) { 0 } else { amount }
    }

    /// Updates the share of their reserved amounts that attempts are expected to use. An attempt that used more than
    /// expected weighs four times as much as an attempt that used less.
    pub(crate) fn expect(&mut self, amount: u64, used: u64) {
        let used = u128::from(used.min(amount)) * u128::from(WHOLE);
        let Some(share) = used.checked_div(amount.into()) else { return };
        let before = u128::from(self.expected);
        let attempts = if share > before { 16 } else { 64 };
        self.expected = ((before * (attempts - 1) + share) / attempts) as u32;
    }

    /// Returns the room for an amount. Under the given and stated limits, the usage by other processes counts too.
    /// Under the learned limit, only the pool's own usage counts. If `over_learned` is set, the learned limit is
    /// ignored.
    pub(crate) fn room(&mut self, amount: u64, over_learned: bool, now: Time) -> Room {
        let amount = self.counted(amount);
        let mut room = Room::OPEN;
        if let Some(limit) = self.known_limit() {
            let others = self.others(now);
            room = room.and(self.room_under(limit, amount, others, now));
        }
        if let Some(learned) = self.learned.filter(|_| !over_learned) {
            let limit = learned.amount(now);
            // An attempt that exceeds the learned limit by itself is sent when the window is empty.
            room = room.and(self.room_under(limit, amount.min(limit), 0, now));
        }
        room
    }

    fn room_under(&mut self, limit: u64, amount: u64, others: u64, now: Time) -> Room {
        let used = self.own.total(now).saturating_add(others);
        let left = limit.saturating_sub(used);
        let share = (u128::from(left) * u128::from(WHOLE) / u128::from(limit)) as u32;
        let over = used.saturating_add(amount).saturating_sub(limit);
        let at = match over {
            0 => 0,
            _ if others == 0 => self.own.frees(over).unwrap_or(now),
            _ => self.own.frees(over).unwrap_or(Time::MAX).min(now + OTHERS_RECHECK),
        };
        Room { at, share }
    }

    /// Records the limit and the remaining amount that the vendor stated with a response. `own` is the own use when the
    /// attempt was sent.
    pub(crate) fn observe(&mut self, limit: Option<u64>, remaining: Option<u64>, own: u64, now: Time) {
        self.stated = limit.or(self.stated);
        if let Some((limit, remaining)) = self.stated.zip(remaining) {
            self.others = Others { amount: limit.saturating_sub(remaining).saturating_sub(own), at: now };
            if remaining <= limit / 5 {
                self.scarce_at = now;
            }
            // Other processes use less than at the refusal, because the vendor has not stated a scarce limit for two
            // minutes.
            let is_over = now.saturating_sub(self.scarce_at) > 2 * MINUTE;
            self.learned = self.learned.filter(|learned| !(learned.is_shared && is_over));
        }
    }

    /// Learns a limit from a refusal that this unit caused. The limit is the own use when the attempt was sent, without
    /// the attempt, unless that is about as much as the known limit, or not below the limit that was learned before.
    /// Then the growth of the limit that was learned before begins again.
    ///
    /// If the refusal may have a common cause, the limit is doubtful, unless it is about as much as the limit that was
    /// learned before. That limit then explains the refusal, and the function returns `true`.
    pub(crate) fn learn(&mut self, own: u64, may_be_common: bool, now: Time) -> bool {
        let used = own.saturating_add(self.others(now));
        let is_below = |limit: u64, used: u64| used < limit - limit / TOLERANCE;
        let known = self.known_limit();
        let before = self.learned.map(|learned| learned.amount(now));
        let is_like_before = before.is_some_and(|limit| !is_below(limit, own));
        let is_explained = is_like_before && !self.is_doubtful();
        if known.is_none_or(|limit| is_below(limit, own)) && before.is_none_or(|limit| own < limit) {
            let is_shared = known.is_some_and(|limit| !is_below(limit, used));
            let is_doubtful = may_be_common && !is_explained;
            self.learned = Some(Learned { amount: own.max(1), at: now, is_doubtful, is_shared, trials: 0 });
        } else if let Some(learned) = &mut self.learned {
            learned.at = now;
        }
        is_explained
    }

    /// Records the outcome of an attempt beyond the learned limit. A refusal confirms the limit. After a success, a
    /// doubtful limit is dropped. Any other limit is raised by 1 %, and by twice as much after each further success.
    pub(crate) fn tried_more(&mut self, is_served: bool) {
        let Some(learned) = &mut self.learned else { return };
        if is_served && learned.is_doubtful {
            self.learned = None;
        } else if is_served {
            let step = (learned.amount / 100).max(1).saturating_mul(1 << learned.trials.min(32));
            (learned.amount, learned.trials) = (learned.amount.saturating_add(step), learned.trials + 1);
        } else {
            (learned.is_doubtful, learned.trials) = (false, 0);
        }
    }

    /// Returns `true` if the learned limit is doubtful.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.learned.is_some_and(|learned| learned.is_doubtful)
    }

    /// Returns the stated limit and the learned limit, each `None` if it is not known.
    pub(crate) fn known(&self, now: Time) -> (Option<u64>, Option<u64>) {
        (self.stated, self.learned.map(|learned| learned.amount(now)))
    }

    /// Sets the limits that an earlier pool knew. A stated limit of 0 is ignored. A learned limit grows from now on.
    pub(crate) fn restore(&mut self, stated: Option<u64>, learned: Option<u64>, now: Time) {
        let learned = learned.map(|amount| Learned { amount: amount.max(1), at: now, ..Learned::default() });
        (self.stated, self.learned) = (stated.filter(|stated| *stated > 0).or(self.stated), learned.or(self.learned));
    }

    /// Returns the usage by other processes that is still in the window.
    fn others(&self, now: Time) -> u64 {
        let age = now.saturating_sub(self.others.at);
        let left = MINUTE.saturating_sub(age);
        (u128::from(self.others.amount) * u128::from(left) / u128::from(MINUTE)) as u64
    }
}
