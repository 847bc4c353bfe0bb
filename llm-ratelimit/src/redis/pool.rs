//! Leased amount of one counter. The module does no I/O, and callers pass the time.

use super::{layout, script_request::RuleNeed};
use crate::{
    account_ref::AccountRef,
    accounts::DecisionRequest,
    counter::{DecisionTime, Level, State, Wait},
    kind::Kind,
    rules::{Group, Rule},
};

/// Leased amount of one counter.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) need: RuleNeed,
    /// State of the counter in the server's last reply.
    state: Option<State>,
    leased: u64,
    /// Amount that calls took from the lease. For concurrency slots, it is the number that calls hold now.
    taken: u64,
    /// Amount that calls from the current lease used until they ended.
    pub(super) used: u64,
    /// End of the calendar window that the amount belongs to, in nanoseconds since 1970; [`u64::MAX`] for other
    /// counters.
    pub(super) until: u64,
    /// Amount to lease in addition to the slots that calls hold.
    size: u64,
    /// Amount taken since the last renewal.
    consumed: u64,
    /// Needs that did not fit since the last request was sent.
    pending: Needs,
    /// Needs that the last request stated, until the server replies.
    requested: Needs,
    /// Amount that the server refused in its latest reply; `None` if the server had room.
    pub(super) refused: Option<u64>,
}

/// Sum and largest value of several needs.
#[derive(Clone, Copy, Debug, Default)]
struct Needs {
    sum: u64,
    most: u64,
}

/// Longest time for which a refusal by the server is remembered, in nanoseconds.
const REMEMBERED: u64 = 100_000_000;

impl Pool {
    pub(super) fn new(group: &Group, rule: &Rule, request: &DecisionRequest<'_>, at: AccountRef) -> Self {
        let is_window = rule.limit.quota().windows().is_some();
        let account = layout::account_of(group, request.demand, &request.plan.name);
        let (state, leased, taken, used, size, consumed, pending, requested, refused) = Default::default();
        let (need, until) = (RuleNeed::new(group, rule, &account, at), if is_window { 0 } else { u64::MAX });
        Self { need, state, leased, taken, used, until, size, consumed, pending, requested, refused }
    }

    /// Returns the last known level of the counter.
    pub(super) fn level(&self) -> Level {
        self.state.as_ref().map_or(Level::Unused, |state| self.need.level(state))
    }

    /// Returns the time until an amount fits for which the server had no room.
    pub(super) fn wait(&self, n: u64, time: DecisionTime) -> Wait {
        self.state.as_ref().map_or(Wait::Unknown, |state| self.need.wait(n, state, time))
    }

    /// Returns `true` if the leased amount has room for `n`.
    #[inline]
    pub(super) fn has_room(&self, n: u64, now: u64) -> bool {
        self.leased > 0 && n <= self.available(now)
    }

    #[inline]
    fn available(&self, now: u64) -> u64 {
        if now < self.until { self.leased.saturating_sub(self.taken) } else { 0 }
    }

    /// Records an amount that did not fit, so that the next request states it.
    pub(super) fn ask_for(&mut self, n: u64) {
        self.pending = Needs { sum: self.pending.sum.saturating_add(n), most: self.pending.most.max(n) };
    }

    pub(super) fn is_requested(&self) -> bool {
        self.pending.sum > 0
    }

    #[inline]
    pub(super) fn take(&mut self, n: u64) {
        self.taken = self.taken.saturating_add(n);
        self.consumed = self.consumed.saturating_add(n);
    }

    /// Replaces an amount that a call took by the amount that it used.
    pub(super) fn settle(&mut self, amount: u64, used: u64) {
        self.taken = self.taken.saturating_sub(amount.saturating_sub(used));
        self.used = self.used.saturating_add(used);
    }

    /// Returns the number of concurrency slots that calls hold; 0 for other counters. Slots move from lease to lease.
    fn held(&self) -> u64 {
        if self.need.rule.kind == Kind::Slots { self.taken } else { 0 }
    }

    /// Returns the amount that calls took, and that is settled with this lease.
    pub(super) fn stays(&self) -> u64 {
        self.taken - self.held()
    }

    /// Returns `true` if an amount is leased or must be reported.
    pub(super) fn is_in_use(&self) -> bool {
        self.leased + self.taken + self.used > 0
    }

    /// Returns `true` if more is leased or must be reported than the slots that calls hold.
    pub(super) fn has_rest(&self) -> bool {
        self.leased > self.held() || self.stays() > 0 || self.used > 0
    }

    /// Adapts the size to the rate of the calls. The size doubles if the chunk was used up quickly. On renewal, the
    /// size shrinks to the amount taken since the last renewal.
    pub(super) fn resize(&mut self, is_renewal: bool, is_quick: bool) {
        if is_renewal {
            self.size = self.size.min(self.consumed);
            self.consumed = 0;
        } else if self.is_requested() && is_quick {
            self.size = self.size.saturating_mul(2);
        }
    }

    /// Switches to the next lease. Returns the need with the amount to lease, and then three amounts: the amount that
    /// calls took from the previous lease, the amount that moves from it to the next lease, and the amount that calls
    /// need from the next lease.
    pub(super) fn next(&mut self, now: u64, is_expired: bool, is_closing: bool) -> (RuleNeed, [u64; 3]) {
        self.requested = std::mem::take(&mut self.pending);
        let (held, Needs { sum, most }) = (self.held(), self.requested);
        let want = held.saturating_add(if is_closing { sum } else { self.size.max(sum) });
        let rest = if is_expired { held } else { self.available(now).saturating_add(held) };
        let (taken, sure) = (self.taken, rest.min(want));
        (self.leased, self.taken, self.used) = (sure, held, 0);
        let need = (most > 0).then(|| held.saturating_add(most));
        (RuleNeed { take: Some(want), need, ..self.need.clone() }, [taken, sure, held.saturating_add(sum)])
    }

    /// Applies the server's reply to a request. Returns the time for which a refusal of the requested amount is
    /// remembered, in nanoseconds.
    pub(super) fn reply(&mut self, has_room: bool, state: &State, leased: u64, time: DecisionTime) -> u64 {
        if let State::Window(window) = state
            && window.until != self.until
        {
            (self.until, self.taken) = (window.until, 0);
        }
        let Needs { sum, most } = std::mem::take(&mut self.requested);
        self.size = self.size.max(sum.min(leased));
        (self.leased, self.state, self.refused) = (leased, Some(state.clone()), (!has_room).then_some(most));
        if has_room {
            return 0;
        }
        match self.wait(most, time) {
            Wait::Nanos(nanos) => nanos.min(REMEMBERED),
            Wait::Not => 0,
            Wait::Unknown | Wait::Ever => REMEMBERED,
        }
    }
}
