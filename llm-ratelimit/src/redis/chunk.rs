//! Chunk of one account. The module does no I/O, and callers pass the time.

use std::sync::Arc;

use llm_redis::Error;
use smallvec::SmallVec;
use tokio::{
    sync::{Notify, futures::OwnedNotified},
    task::AbortHandle,
};

use super::{
    layout::{Id, Tag},
    open::Reserved,
    pool::Pool,
    script_request::{Decided, Lease, RuleNeed, ScriptRequest},
};
use crate::{
    Settlement,
    account_ref::AccountRef,
    accounts::{DecisionRequest, Standing},
    blocked::Blocked,
    bucket::Mark,
    counter::{DecisionTime, Level, Wait},
    hold::{Hold, Holds},
    kind::Kind,
    rules::{Group, Rule},
};

/// Lease of one account's counters, and the state of calls that wait for room in the account. An account about which
/// only the server decides has no counters here.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) tag: Arc<Tag>,
    /// Number of the lease.
    number: u64,
    /// Number of open calls that took from this lease.
    pub(super) open: usize,
    per_mille: u32,
    pools: SmallVec<[Pool; 1]>,
    /// Request for the lease; `None` once the server's reply to it has arrived.
    sent: Option<Arc<Sent>>,
    /// Time at which the leased amounts expire, in nanoseconds since 1970 by this process's clock.
    expires: u64,
    /// True while calls wait for room.
    pub(super) is_awaited: bool,
    /// Task that listens for announcements of room while calls wait.
    pub(super) listens: Option<AbortHandle>,
    /// True while a request is being sent, including its retries.
    pub(super) is_reporting: bool,
    /// Error of the latest attempt to send the request; `None` if it succeeded.
    failing: Option<Error>,
    /// Time by the server's clock until which a refusal is remembered, in nanoseconds since 1970. The refusal does not
    /// count while settlements are being sent.
    pub(super) refused_until: u64,
    pub(super) settling: usize,
    filled_at: u64,
    replied: Arc<Notify>,
}

/// Request for a lease.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) number: u64,
    /// Number of the previous lease, if calls took anything from it.
    pub(super) before: Option<u64>,
    pub(super) script_request: ScriptRequest,
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
    /// The chunk is too small. The caller should request a larger chunk, and wait for this notification.
    Lacks(AccountRef, OwnedNotified),
    Blocked(Blocked),
    /// The chunk is too small, and the request for a larger chunk fails. It is being retried.
    Fails(Error),
}

/// Bit of a [`Hold`]'s mark that says that the hold is from a chunk. The other bits are the number of the lease.
const CHUNK: u64 = 1 << 63;

/// Returns the number of the lease that a hold was taken from; `None` if it is not from a chunk.
pub(super) fn lease_of(hold: &Hold) -> Option<u64> {
    let mark = u64::from(hold.mark);
    (mark & CHUNK != 0).then_some(mark & !CHUNK)
}

impl Chunk {
    pub(super) fn new(tag: Arc<Tag>) -> Self {
        let (number, open, per_mille, pools, sent, expires, is_awaited, listens) = Default::default();
        let (is_reporting, failing, refused_until, settling, filled_at, replied) = Default::default();
        Self {
            tag,
            number,
            open,
            per_mille,
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

    /// Returns `true` if the chunk must be reported or renewed.
    pub(super) fn is_due(&self) -> bool {
        self.sent.is_some() || self.pools.iter().any(Pool::is_in_use)
    }

    /// Returns `true` if the chunk can be forgotten without a loss.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_due() && self.open == 0 && !self.is_awaited && !self.is_reporting
    }

    /// Returns the last known level of a rule's counter.
    pub(super) fn level(&self, rule: &Rule) -> Level {
        let pool = self.pools.iter().find(|pool| pool.need.rule.id == rule.id);
        pool.map_or(Level::Unused, Pool::level)
    }

    /// Adds those counters of a group that the chunk does not have yet, and sets the current limits and their scale.
    #[inline]
    pub(super) fn provide(&mut self, group: &Group, request: &DecisionRequest<'_>, at: AccountRef) {
        self.per_mille = request.at.per_mille;
        for rule in &group.rules {
            match self.pools.iter_mut().find(|pool| pool.need.rule.id == rule.id) {
                Some(pool) if Arc::ptr_eq(&pool.need.rule.limit, &rule.limit) => {}
                Some(pool) => pool.need.rule = rule.clone(),
                // A counter that is added while a request is being sent is not in the reply to that request.
                None => self.pools.push(Pool::new(group, rule, request, at)),
            }
        }
    }

    /// Returns the obstacle of a call; `None` if the call can take the amounts that it needs. If the chunk is too
    /// small, records the amounts for the next request.
    #[inline]
    pub(super) fn obstacle(
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
                Some(n) if !is_expired && pool.has_room(n, now) => continue,
                Some(n) if now < refused_until && pool.refused.is_some_and(|refused| n >= refused) => {
                    let time = DecisionTime { now, per_mille: self.per_mille };
                    return blocked(pool.wait(n, time), position);
                }
                // A call that is counted regardless of the limits only needs a current window.
                None if now < pool.until => continue,
                _ => {}
            }
            lacks = true;
            pool.ask_for(n.max(1));
        }
        match &self.failing {
            _ if !lacks => None,
            Some(error) if self.is_reporting => Some(Taking::Fails(error.clone())),
            _ => Some(Taking::Lacks(at, Arc::clone(&self.replied).notified_owned())),
        }
    }

    #[inline]
    pub(super) fn take(&mut self, group: &Group, request: &DecisionRequest<'_>, at: AccountRef, holds: &mut Holds) {
        let (before, mark) = (holds.len(), Mark::from(CHUNK | self.number));
        for rule in &group.rules {
            let Some(amount) = request.takes(rule) else { continue };
            let Some(pool) = self.pools.iter_mut().find(|pool| pool.need.rule.id == rule.id) else { continue };
            pool.take(amount);
            holds.push(Hold { account_ref: at, counter: rule.id, kind: rule.kind, amount, mark });
        }
        self.open += usize::from(holds.len() > before);
    }

    /// Settles the amounts that a call took from the chunk. Returns `true` if the call took them from the current
    /// lease, so that the chunk alone accounts for the unused rest.
    pub(super) fn settle(&mut self, holds: &[Hold], settlement: &Settlement) -> bool {
        let is_current = holds.first().and_then(lease_of) == Some(self.number);
        self.open -= usize::from(is_current);
        self.refused_until = 0;
        for hold in holds {
            let pool = self.pools.iter_mut().find(|pool| pool.need.rule.id == hold.counter);
            if let Some(pool) = pool.filter(|_| is_current || hold.kind == Kind::Slots) {
                pool.settle(hold.amount, settlement.amount(hold.kind, hold.amount));
            }
        }
        is_current
    }

    /// Returns a request for the next lease, which gets the number `number`, or the request that was sent and has not
    /// been acknowledged. When a new request is created, also returns a reservation of the amounts that calls took from
    /// the previous lease, if they took anything.
    pub(super) fn request(
        &mut self,
        number: u64,
        times: Times,
        (lease, parts): (u64, u64),
        is_closing: bool,
        id: impl Fn(u64) -> Id,
    ) -> (Arc<Sent>, Option<Reserved>) {
        if let Some(sent) = &self.sent {
            return (Arc::clone(sent), None);
        }
        let before = self.cut();
        let is_renewal = !self.pools.iter().any(Pool::is_requested);
        let is_quick = times.now.saturating_sub(self.filled_at) < lease / 3;
        let is_expired = times.local >= self.expires;
        let next = |pool: &mut Pool| {
            pool.resize(is_renewal, is_quick);
            pool.next(times.now, is_expired, is_closing)
        };
        let (rules, kept) = self.pools.iter_mut().map(next).unzip();
        let lease = Lease {
            before: (self.number > 0).then(|| id(self.number)),
            is_ended: before.is_none(),
            kept,
            parts,
            waits: self.is_awaited,
        };
        let script_request = self.script_request(rules, Some(lease));
        let sent = Arc::new(Sent { number, before: before.as_ref().map(|_| self.number), script_request });
        (self.number, self.open, self.sent) = (number, 0, Some(Arc::clone(&sent)));
        (sent, before)
    }

    /// Applies the server's reply to a request. The leased amounts may be used until `expires`, by this process's
    /// clock. Returns `true` if another request must be sent to return amounts.
    pub(super) fn reply(&mut self, decided: &Decided, expires: u64, is_closing: bool) -> bool {
        (self.sent, self.failing) = (None, None);
        (self.expires, self.filled_at) = (expires, decided.now);
        let time = DecisionTime { now: decided.now, per_mille: self.per_mille };
        let mut wait = 0;
        for ((pool, (has_room, state)), leased) in self.pools.iter_mut().zip(&decided.rules).zip(&decided.leased) {
            wait = wait.max(pool.reply(*has_room, state, *leased, time));
        }
        self.refused_until = if wait == 0 { 0 } else { decided.now.saturating_add(wait) };
        self.is_reporting = is_closing && self.pools.iter().any(Pool::has_rest);
        self.replied.notify_waiters();
        self.is_reporting
    }

    /// Returns a reservation of the amounts that calls took from the current lease; `None` if they took nothing.
    fn cut(&self) -> Option<Reserved> {
        let is_used = self.open > 0 || self.pools.iter().any(|pool| pool.stays() > 0 || pool.used > 0);
        if !is_used || self.number == 0 {
            return None;
        }
        let rules = self.pools.iter().map(|pool| RuleNeed { take: Some(pool.stays()), ..pool.need.clone() });
        let (script_request, used) =
            (self.script_request(rules.collect(), None), self.pools.iter().map(|pool| pool.used).collect());
        Some(Reserved::of_lease(self.number, script_request, self.open, used))
    }

    fn script_request(&self, rules: Vec<RuleNeed>, lease: Option<Lease>) -> ScriptRequest {
        ScriptRequest { tag: Arc::clone(&self.tag), rules, per_mille: self.per_mille, lease }
    }
}
