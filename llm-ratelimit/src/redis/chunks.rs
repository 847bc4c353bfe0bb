//! Chunks: amounts of accounts that this process has leased, and from which it decides without a round trip. The module
//! does no I/O, and callers pass the time.
//!
//! A lease is a reservation of the process in Redis. When it is renewed or used up, a new lease takes its place. The
//! amounts that calls took from the old lease stay reserved under its number until the last of these calls ends. The
//! rest moves to the new lease.

use std::{collections::HashMap, sync::Arc};

use llm_redis::Error;
use smallvec::SmallVec;
use tokio::{sync::Notify, task::AbortHandle};

use super::{
    layout::{self, Tag},
    open::Reserved,
    question::{Decided, Lease, Question, RuleNeed},
};
use crate::{
    Settlement,
    account_ref::AccountRef,
    accounts::{DecisionRequest, Standing},
    blocked::Blocked,
    bucket::Mark,
    counter::{DecisionTime, Level, State, Wait},
    hold::{Hold, Holds},
    kind::Kind,
    rules::{Group, Rule},
};

/// Chunks of all accounts.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    accounts: HashMap<AccountRef, Chunk>,
    /// Alert shares of the limiter, from the latest settlement.
    shares: Arc<[u8]>,
    /// True once all amounts that no call uses are to be returned.
    pub(super) is_closing: bool,
}

/// Lease of one account's counters, and the state of calls that wait for room in the account. An account that the
/// server decides has no counters here.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) tag: Arc<Tag>,
    /// Number of the lease.
    number: u64,
    /// Number of open calls that took from this lease.
    open: usize,
    per_mille: u32,
    pools: SmallVec<[Pool; 1]>,
    /// Request for the lease, if it may have reached the server and no reply has come.
    sent: Option<Arc<Sent>>,
    /// Time at which the leased amounts expire, in nanoseconds since 1970 by this process's clock.
    expires: u64,
    /// True while calls wait for room. In `listens`, the task that listens for announcements of room.
    pub(super) is_awaited: bool,
    pub(super) listens: Option<AbortHandle>,
    /// True while a request is being sent, including its retries.
    pub(super) is_reporting: bool,
    /// Error of the latest attempt; `None` if it succeeded.
    failing: Option<Error>,
    /// Time by the server's clock until which a refusal is remembered. The refusal does not count while settlements are
    /// being sent.
    pub(super) refused_until: u64,
    pub(super) settling: usize,
    filled_at: u64,
    replied: Arc<Notify>,
}

/// Leased amount of one counter.
#[derive(Debug)]
struct Pool {
    need: RuleNeed,
    state: Option<State>,
    leased: u64,
    /// Amount that calls took from the lease. For concurrency slots, it is the number that calls hold now.
    taken: u64,
    /// Amount used by calls that have ended.
    used: u64,
    /// End of the calendar window that the amount belongs to, in nanoseconds since 1970; [`u64::MAX`] for other
    /// counters.
    until: u64,
    /// Amount to lease in addition to the slots that calls hold.
    size: u64,
    /// Amount taken since the last renewal.
    consumed: u64,
    /// Needs that did not fit since the last request was sent, and in `asked`, the needs that this request stated.
    pending: Needs,
    asked: Needs,
    /// Smallest amount that the server has refused.
    refused: Option<u64>,
}

/// Sum and largest value of several needs.
#[derive(Clone, Copy, Debug, Default)]
struct Needs {
    sum: u64,
    most: u64,
}

/// Request for a lease.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) number: u64,
    /// Number of the previous lease, if calls took anything from it.
    pub(super) before: Option<u64>,
    pub(super) question: Question,
}

/// Current time by two clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Time by the server's clock, in nanoseconds since 1970.
    pub(super) now: u64,
    /// Time by this process's clock, in nanoseconds since 1970.
    pub(super) local: u64,
}

/// Result of taking the amounts that a call needs.
#[derive(Debug)]
pub(super) enum Taking {
    Taken,
    /// The chunk is too small. The caller should request a larger one, and wait for this notification.
    Lacks(AccountRef, Arc<Notify>),
    Blocked(Blocked),
    /// The server cannot be asked for a chunk.
    Fails(Error),
}

/// Bit of a [`Hold`]'s mark that says that the hold is from a chunk. The other bits are the number of the lease.
const CHUNK: u64 = 1 << 63;
/// Longest time for which a refusal by the server is remembered, in nanoseconds.
const REMEMBERED: u64 = 100_000_000;
/// Number of accounts with chunks above which unused ones are forgotten.
const ACCOUNTS: usize = 10_000;

/// Returns the number of the lease that a hold was taken from; `None` if it is not from a chunk.
pub(super) fn lease_of(hold: &Hold) -> Option<u64> {
    let mark = u64::from(hold.mark);
    (mark & CHUNK != 0).then_some(mark & !CHUNK)
}

impl Chunks {
    /// Calls `with` on an account's chunk, and returns its result. Returns the default if the account has no chunk.
    pub(super) fn with<T: Default>(&mut self, at: AccountRef, with: impl FnOnce(&mut Chunk) -> T) -> T {
        self.accounts.get_mut(&at).map(with).unwrap_or_default()
    }

    /// Adds an account without counters, for calls that may wait for room in it.
    pub(super) fn remember(&mut self, at: AccountRef, tag_of: impl FnOnce() -> Arc<Tag>) {
        self.accounts.entry(at).or_insert_with(|| Chunk::new(tag_of()));
    }

    /// Takes the amounts that a call needs from the chunks of all `groups`, or takes nothing.
    pub(super) fn take<'a>(
        &mut self,
        request: &DecisionRequest<'a>,
        groups: impl Iterator<Item = (usize, &'a Group)> + Clone,
        times: Times,
        tag_of: impl Fn(&Group) -> Arc<Tag>,
        holds: &mut Holds,
    ) -> Taking {
        let plan = &request.plan.name;
        for (number, group) in groups.clone() {
            let at = layout::account_ref(group, request.demand, plan);
            let chunk = self.accounts.entry(at).or_insert_with(|| Chunk::new(tag_of(group)));
            chunk.per_mille = request.at.per_mille;
            chunk.provide(group, request, at);
            if let Some(taking) = chunk.obstacle(request, (number, group), at, times) {
                return taking;
            }
        }
        for (_, group) in groups {
            let at = layout::account_ref(group, request.demand, plan);
            if let Some(chunk) = self.accounts.get_mut(&at) {
                chunk.take(group, request, at, holds);
            }
        }
        Taking::Taken
    }

    /// Returns the last known levels of a group's rules.
    pub(super) fn levels(&self, group: &Group, at: AccountRef) -> impl Iterator<Item = Level> {
        let chunk = self.accounts.get(&at);
        group.rules.iter().map(move |rule| {
            let pool = chunk.and_then(|chunk| chunk.pools.iter().find(|pool| pool.need.rule.id == rule.id));
            let state = pool.and_then(|pool| Some(pool.need.level(pool.state.as_ref()?)));
            state.unwrap_or(Level::Unused)
        })
    }

    /// Settles the amounts that a call took from one account's chunk. Returns true if the call took them from the
    /// account's current lease, so that the chunk alone accounts for the unused rest.
    pub(super) fn settle(&mut self, holds: &[Hold], settlement: &Settlement, shares: &[u8]) -> bool {
        if *self.shares != *shares {
            self.shares = shares.into();
        }
        let Some(hold) = holds.first() else { return true };
        let Some(chunk) = self.accounts.get_mut(&hold.account_ref) else { return false };
        let is_current = lease_of(hold) == Some(chunk.number);
        chunk.open -= usize::from(is_current);
        chunk.refused_until = 0;
        for hold in holds {
            let pool = chunk.pools.iter_mut().find(|pool| pool.need.rule.id == hold.counter);
            if let Some(pool) = pool.filter(|_| is_current || hold.kind == Kind::Slots) {
                let used = settlement.amount(hold.kind, hold.amount);
                pool.taken = pool.taken.saturating_sub(hold.amount.saturating_sub(used));
                pool.used = pool.used.saturating_add(used);
            }
        }
        is_current
    }

    /// Returns the request for the next lease of an account, or the request that was sent and has not been
    /// acknowledged; `None` if the account has no chunks. When a new request is created, the previous lease is returned
    /// too if calls took anything from it.
    pub(super) fn request(
        &mut self,
        at: AccountRef,
        number: u64,
        times: Times,
        (lease, parts): (u64, u64),
        id: impl Fn(u64) -> layout::Id,
    ) -> Option<(Arc<Sent>, Option<Reserved>)> {
        let is_closing = self.is_closing;
        let chunk = self.accounts.get_mut(&at)?;
        if let Some(sent) = &chunk.sent {
            return Some((Arc::clone(sent), None));
        }
        let before = chunk.cut(&self.shares);
        let is_quick = times.now.saturating_sub(chunk.filled_at) < lease / 3;
        let (rules, kept) = chunk.next(times, is_quick, is_closing);
        let lease = Lease {
            before: (chunk.number > 0).then(|| id(chunk.number)),
            is_ended: before.is_none(),
            kept,
            parts,
            waits: chunk.is_awaited,
        };
        let tag = Arc::clone(&chunk.tag);
        let question = Question { tag, rules, per_mille: chunk.per_mille, lease: Some(lease) };
        let sent = Arc::new(Sent { number, before: before.as_ref().map(|_| chunk.number), question });
        (chunk.number, chunk.open, chunk.sent) = (number, 0, Some(Arc::clone(&sent)));
        Some((sent, before))
    }

    /// Applies the server's reply to a request. The leased amounts may be used until `expires`, by this process's
    /// clock. Returns true if another request must be sent to return amounts.
    pub(super) fn reply(&mut self, at: AccountRef, decided: &Decided, expires: u64) -> bool {
        let is_closing = self.is_closing;
        let Some(chunk) = self.accounts.get_mut(&at) else { return false };
        (chunk.sent, chunk.failing) = (None, None);
        (chunk.expires, chunk.filled_at) = (expires, decided.now);
        let time = DecisionTime { now: decided.now, per_mille: chunk.per_mille };
        let mut wait = 0;
        for ((pool, (has_room, state)), leased) in chunk.pools.iter_mut().zip(&decided.rules).zip(&decided.leased) {
            pool.reply(state, *leased);
            pool.refused = (!has_room).then_some(pool.asked.most);
            if !has_room {
                wait = wait.max(match pool.wait(pool.asked.most, time) {
                    Wait::Nanos(nanos) => nanos.min(REMEMBERED),
                    Wait::Not => 0,
                    Wait::Unknown | Wait::Ever => REMEMBERED,
                });
            }
            pool.asked = Needs::default();
        }
        chunk.refused_until = if wait == 0 { 0 } else { decided.now.saturating_add(wait) };
        chunk.is_reporting = is_closing && chunk.pools.iter().any(Pool::has_rest);
        chunk.replied.notify_waiters();
        chunk.is_reporting
    }

    /// Returns the accounts whose chunks must be reported or renewed. If there are more than [`ACCOUNTS`], unused ones
    /// are forgotten.
    pub(super) fn due(&mut self) -> Vec<AccountRef> {
        let is_due =
            |chunk: &Chunk| chunk.sent.is_some() || chunk.pools.iter().any(|p| p.leased + p.taken + p.used > 0);
        if self.accounts.len() > ACCOUNTS {
            self.accounts.retain(|_, chunk| is_due(chunk) || chunk.open > 0 || chunk.is_awaited || chunk.is_reporting);
        }
        self.accounts.iter().filter(|(_, chunk)| is_due(chunk)).map(|(at, _)| *at).collect()
    }

    /// Returns the number of open calls that took from the current leases.
    pub(super) fn open(&self) -> usize {
        self.accounts.values().map(|chunk| chunk.open).sum()
    }
}

impl Chunk {
    fn new(tag: Arc<Tag>) -> Self {
        let (number, open, pools, sent, expires, is_awaited, listens) = Default::default();
        let (is_reporting, failing, refused_until, settling, filled_at, replied) = Default::default();
        Self {
            tag,
            number,
            open,
            per_mille: 1_000,
            pools,
            sent,
            expires,
            is_awaited,
            listens,
            is_reporting,
            failing,
            refused_until,
            settling,
            filled_at,
            replied,
        }
    }

    /// Records that sending a request has failed. The sender tries again.
    pub(super) fn fail(&mut self, error: &Error) {
        self.failing = Some(error.clone());
        self.replied.notify_waiters();
    }

    /// Records that the sender has given a request up.
    pub(super) fn give_up(&mut self) {
        self.is_reporting = false;
        self.replied.notify_waiters();
    }

    /// Adds those counters of a group that the chunk does not have yet.
    #[inline]
    fn provide(&mut self, group: &Group, request: &DecisionRequest<'_>, at: AccountRef) {
        for rule in &group.rules {
            match self.pools.iter_mut().find(|pool| pool.need.rule.id == rule.id) {
                Some(pool) if Arc::ptr_eq(&pool.need.rule.limit, &rule.limit) => {}
                Some(pool) => pool.need.rule = rule.clone(),
                // A counter that is added while a request is being sent is not in the reply to that request.
                None => self.pools.push(Pool::new(group, rule, request, at)),
            }
        }
    }

    /// Returns the result of an attempt that must fail; `None` if the call can take the amounts that it needs.
    #[inline]
    fn obstacle(
        &mut self,
        request: &DecisionRequest<'_>,
        (number, group): (usize, &Group),
        at: AccountRef,
        Times { now, local }: Times,
    ) -> Option<Taking> {
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        let blocked = |wait, rule| Some(Taking::Blocked(Blocked { wait, account_ref: Some(at), group: number, rule }));
        let is_new = request.standing == Standing::New;
        let (mut lacks, is_expired, waits) = (false, local >= self.expires, self.is_awaited && is_new);
        let refused_until = if self.settling > 0 { 0 } else { self.refused_until };
        for (position, rule) in group.rules.iter().enumerate() {
            let needed = rule.needed(request.demand).filter(|_| request.standing != Standing::Regardless);
            let Some(n) = needed.or(request.takes(rule)) else { continue };
            let Some(pool) = self.pools.iter_mut().find(|pool| pool.need.rule.id == rule.id) else { continue };
            let position = u16::try_from(position).ok();
            match needed {
                Some(n) if n > rule.limit.quota().most() => return blocked(Wait::Ever, position),
                Some(_) if waits => return blocked(Wait::Unknown, None),
                Some(n) if !is_expired && n <= pool.available(now) && pool.leased > 0 => continue,
                Some(n) if now < refused_until && pool.refused.is_some_and(|refused| n >= refused) => {
                    let time = DecisionTime { now, per_mille: self.per_mille };
                    return blocked(pool.wait(n, time), position);
                }
                // A call that is counted regardless of the limits only needs a current window.
                None if now < pool.until => continue,
                _ => {}
            }
            lacks = true;
            let n = n.max(1);
            pool.pending = Needs { sum: pool.pending.sum.saturating_add(n), most: pool.pending.most.max(n) };
        }
        match &self.failing {
            _ if !lacks => None,
            Some(error) if self.is_reporting => Some(Taking::Fails(error.clone())),
            _ => Some(Taking::Lacks(at, Arc::clone(&self.replied))),
        }
    }

    #[inline]
    fn take(&mut self, group: &Group, request: &DecisionRequest<'_>, at: AccountRef, holds: &mut Holds) {
        let (before, mark) = (holds.len(), Mark::from(CHUNK | self.number));
        for rule in &group.rules {
            let Some(amount) = request.takes(rule) else { continue };
            let Some(pool) = self.pools.iter_mut().find(|pool| pool.need.rule.id == rule.id) else { continue };
            pool.taken = pool.taken.saturating_add(amount);
            pool.consumed = pool.consumed.saturating_add(amount);
            holds.push(Hold { account_ref: at, counter: rule.id, kind: rule.kind, amount, mark });
        }
        self.open += usize::from(holds.len() > before);
    }

    /// Returns a reservation of the amounts that calls took from the current lease; `None` if they took nothing.
    fn cut(&self, shares: &Arc<[u8]>) -> Option<Reserved> {
        let is_used = self.open > 0 || self.pools.iter().any(|pool| pool.taken > pool.held() || pool.used > 0);
        if !is_used || self.number == 0 {
            return None;
        }
        let held = |pool: &Pool| RuleNeed { take: Some(pool.taken - pool.held()), ..pool.need.clone() };
        let rules = self.pools.iter().map(held).collect();
        let question = Question { tag: Arc::clone(&self.tag), rules, per_mille: self.per_mille, lease: None };
        let used = self.pools.iter().map(|pool| pool.used).collect();
        Some(Reserved::of_lease(self.number, question, self.open, used, Arc::clone(shares)))
    }

    /// Switches to the next lease. Returns the amounts to lease, and for each counter the amount that was taken from
    /// the previous lease, the amount that moves to the next one, and the amount that calls need of it.
    fn next(&mut self, times: Times, is_quick: bool, is_closing: bool) -> (Vec<RuleNeed>, Vec<[u64; 3]>) {
        let is_renewal = self.pools.iter().all(|pool| pool.pending.sum == 0);
        let is_expired = times.local >= self.expires;
        let next = |pool: &mut Pool| {
            pool.resize(is_renewal, is_quick);
            pool.asked = std::mem::take(&mut pool.pending);
            let (held, Needs { sum, most }) = (pool.held(), pool.asked);
            let want = held.saturating_add(if is_closing { sum } else { pool.size.max(sum) });
            let rest = if is_expired { held } else { pool.available(times.now).saturating_add(held) };
            let (taken, sure) = (pool.taken, rest.min(want));
            (pool.leased, pool.taken, pool.used) = (sure, held, 0);
            let need = (most > 0).then(|| held.saturating_add(most));
            (RuleNeed { take: Some(want), need, ..pool.need.clone() }, [taken, sure, held.saturating_add(sum)])
        };
        self.pools.iter_mut().map(next).unzip()
    }
}

impl Pool {
    fn new(group: &Group, rule: &Rule, request: &DecisionRequest<'_>, at: AccountRef) -> Self {
        let is_window = rule.limit.quota().windows().is_some();
        let account = layout::account_of(group, request.demand, &request.plan.name);
        let (state, leased, taken, used, size, consumed, pending, asked, refused) = Default::default();
        let (need, until) = (RuleNeed::new(group, rule, &account, at), if is_window { 0 } else { u64::MAX });
        Self { need, state, leased, taken, used, until, size, consumed, pending, asked, refused }
    }

    /// Returns the time until an amount fits that the server had no room for.
    fn wait(&self, n: u64, time: DecisionTime) -> Wait {
        self.state.as_ref().map_or(Wait::Unknown, |state| self.need.wait(n, state, time))
    }

    #[inline]
    fn available(&self, now: u64) -> u64 {
        if now >= self.until { 0 } else { self.leased.saturating_sub(self.taken) }
    }

    /// Returns the number of concurrency slots that calls hold. They move from lease to lease.
    fn held(&self) -> u64 {
        if self.need.rule.kind == Kind::Slots { self.taken } else { 0 }
    }

    /// Adapts the size to the rate of the calls. It doubles if the chunk was used up quickly. On renewal, it shrinks to
    /// the amount taken since the last renewal.
    fn resize(&mut self, is_renewal: bool, is_quick: bool) {
        if is_renewal {
            self.size = self.size.min(self.consumed);
            self.consumed = 0;
        } else if self.pending.sum > 0 && is_quick {
            self.size = self.size.saturating_mul(2);
        }
    }

    fn reply(&mut self, state: &State, leased: u64) {
        if let State::Window(window) = state
            && window.until != self.until
        {
            (self.until, self.taken) = (window.until, 0);
        }
        self.size = self.size.max(self.asked.sum.min(leased));
        (self.leased, self.state) = (leased, Some(state.clone()));
    }

    /// Returns true if more is leased or must be reported than the slots that calls hold.
    fn has_rest(&self) -> bool {
        self.leased > self.held() || self.taken > self.held() || self.used > 0
    }
}
