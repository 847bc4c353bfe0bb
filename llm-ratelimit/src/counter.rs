//! Counter of a rule: a bucket, a window or slots.

use smallvec::SmallVec;

use crate::{
    bucket::{Bucket, Mark, Volume},
    quota::{Span, scaled},
    rules::Rule,
    window::{ReachedShares, Window},
};

#[derive(Clone, Debug)]
pub(crate) struct Counter {
    pub(crate) id: u32,
    pub(crate) state: State,
}

#[derive(Clone, Debug)]
pub(crate) enum State {
    Bucket(Bucket),
    Window(Window),
    /// Number of slots that calls hold.
    Slots(u64),
}

/// Time until an amount fits into a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// The amount fits now.
    Not,
    /// The amount fits after this many nanoseconds, if no other call takes anything before.
    Nanos(u64),
    /// The time is unknown, because a call must give an amount back, or an operator must scale the limits up.
    Unknown,
    /// The amount never fits, because it exceeds the limit.
    Ever,
}

/// Time of a decision, and the scale of limits at that time, on which the limit of a counter depends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecisionTime {
    /// Time, in nanoseconds since 1970.
    pub(crate) now: u64,
    /// Scale of all limits, in thousandths.
    pub(crate) per_mille: u32,
}

/// State of a counter after a decision, as plain data. Amounts and times are computed from it when they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// The rule does not count the call.
    Unused,
    Bucket(Volume),
    /// State of a window, which ends at `until`, in nanoseconds since 1970.
    Window {
        used: u64,
        reserved: u64,
        debt: u64,
        until: u64,
    },
    /// Number of slots that calls hold.
    Slots(u64),
}

/// Levels of all of a plan's rules, in the order of the rules.
pub(crate) type Levels = SmallVec<[Level; 4]>;

impl Counter {
    /// Creates a counter at the time of a decision.
    pub(crate) fn new(rule: &Rule, at: DecisionTime) -> Self {
        let quota = rule.limit.quota();
        let state = match quota.span() {
            Span::Bucket { period, burst } => {
                State::Bucket(Bucket::new(quota.rate(*period, *burst, at.per_mille), at.now))
            }
            Span::Calendar(_) => State::Window(Window::default()),
            Span::Concurrent => State::Slots(0),
        };
        let mut counter = Self { id: rule.id, state };
        counter.advance(rule, at);
        counter
    }

    /// Advances the counter to the present, with the limit that applies now.
    #[inline]
    pub(crate) fn advance(&mut self, rule: &Rule, at: DecisionTime) {
        let quota = rule.limit.quota();
        match (&mut self.state, quota.span()) {
            (State::Bucket(bucket), Span::Bucket { period, burst }) => {
                bucket.drain(quota.rate(*period, *burst, at.per_mille), at.now);
            }
            (State::Window(window), Span::Calendar(calendar)) => {
                window.roll(calendar, scaled(quota.amount(), at.per_mille), at.now);
            }
            _ => {}
        }
    }

    /// Returns the time until `n` fits. The caller must have advanced the counter to the present.
    #[inline]
    pub(crate) fn wait(&self, rule: &Rule, n: u64, at: DecisionTime) -> Wait {
        let quota = rule.limit.quota();
        if n > quota.most() {
            return Wait::Ever;
        }
        let nanos = match (&self.state, quota.span()) {
            (State::Bucket(bucket), Span::Bucket { period, burst }) => {
                let rate = quota.rate(*period, *burst, at.per_mille);
                if bucket.fits(rate, n) { Some(0) } else { bucket.wait(rate, n) }
            }
            (State::Window(window), Span::Calendar(calendar)) => window.wait(calendar, n, at.now),
            (State::Slots(held), _) if held.saturating_add(n) <= scaled(quota.amount(), at.per_mille) => Some(0),
            _ => None,
        };
        match nanos {
            Some(0) => Wait::Not,
            Some(nanos) => Wait::Nanos(nanos),
            None => Wait::Unknown,
        }
    }

    #[inline]
    pub(crate) fn take(&mut self, n: u64) -> Mark {
        match &mut self.state {
            State::Bucket(bucket) => bucket.take(n),
            State::Window(window) => window.take(n).into(),
            State::Slots(held) => {
                *held = held.saturating_add(n);
                Mark::default()
            }
        }
    }

    /// Replaces a reserved amount by the used one. Returns the alert shares that the used amount reaches, and the debt
    /// that it causes. Only windows have either.
    pub(crate) fn settle(
        &mut self,
        mark: Mark,
        reserved: u64,
        used: u64,
        now: u64,
        alert_shares: &[u8],
    ) -> (Option<ReachedShares>, u64) {
        match &mut self.state {
            State::Bucket(_) if used == reserved => {}
            State::Bucket(bucket) if used < reserved => bucket.give_back(mark, reserved, reserved - used, now),
            State::Bucket(bucket) => bucket.charge(used - reserved, now),
            State::Window(window) => {
                let before = window.owed();
                window.settle(mark.into(), reserved, used);
                return (window.reach(alert_shares), window.owed().saturating_sub(before));
            }
            State::Slots(held) => *held = held.saturating_sub(reserved),
        }
        (None, 0)
    }

    /// Returns the state of the counter as plain data. The caller must have advanced the counter to the present.
    #[inline]
    pub(crate) fn level(&self) -> Level {
        match &self.state {
            State::Bucket(bucket) => Level::Bucket(bucket.volume()),
            State::Window(window) => Level::Window {
                used: window.carried.saturating_add(window.spent),
                reserved: window.reserved,
                debt: window.owed(),
                until: window.until,
            },
            State::Slots(held) => Level::Slots(*held),
        }
    }

    /// Removes the used amount. In windows and slots, the reserved amount stays until it is settled. A bucket is
    /// emptied, because it does not distinguish reserved from used amounts.
    pub(crate) fn forget(&mut self) {
        match &mut self.state {
            State::Bucket(bucket) => bucket.forget(),
            State::Window(window) => window.forget(),
            State::Slots(_) => {}
        }
    }

    /// Returns `true` if the counter holds nothing that must be kept.
    pub(crate) fn is_blank(&self, now: u64) -> bool {
        match &self.state {
            State::Bucket(bucket) => bucket.is_empty_at(now),
            State::Window(window) => window.is_blank_at(now),
            State::Slots(held) => *held == 0,
        }
    }
}
