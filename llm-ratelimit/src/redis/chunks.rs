//! Amounts of accounts that are leased to this process, from which it decides without a round trip. Pure: callers pass the
//! time.

use std::{collections::HashMap, sync::Arc};

use llm_redis::ErrorKind;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::{
    layout::{self, Id, Tag},
    lease::{Lease, PoolReply, PoolReport},
    pool::{Needs, Pool},
    question::RuleNeed,
};
use crate::{
    Settlement,
    account_ref::AccountRef,
    accounts::{DecisionRequest, Standing},
    blocked::Blocked,
    bucket::Mark,
    counter::{DecisionTime, Level, Wait},
    hold::{Hold, Holds},
    rules::Group,
};

/// Chunks of all accounts.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    accounts: HashMap<AccountRef, Chunk>,
    /// True once all that is not in use is to be given back.
    pub(super) is_closing: bool,
}

/// Chunks of the counters of one account.
#[derive(Debug)]
struct Chunk {
    tag: Arc<Tag>,
    id: Id,
    number: u64,
    per_mille: u32,
    shares: Arc<[u8]>,
    pools: SmallVec<[Pool; 1]>,
    /// Time at which what is leased can be used no more, in nanoseconds since 1970 by this process's clock.
    expires: u64,
    /// Calls that hold something of it.
    open: usize,
    awaited: bool,
    /// True while a report is on its way.
    reporting: bool,
    /// Number of counters in the report that was sent last, while no reply came and it may have arrived.
    sent: Option<usize>,
    /// Kind of the error of the last attempt, if it failed.
    failing: Option<ErrorKind>,
    /// Time until which a refusal is remembered, by the server's clock.
    refused_until: u64,
    filled_at: u64,
    replied: Arc<Notify>,
}

/// Result of an attempt to take what a call needs.
#[derive(Debug)]
pub(super) enum Taking {
    Taken,
    /// The account has too little: ask the server, and wait for this.
    Lacks(AccountRef, Arc<Notify>),
    Blocked(Blocked),
    /// The server cannot be asked.
    Fails(ErrorKind),
}

/// Mark of what is taken from a chunk, beside the number of a batch or the end of a window.
const CHUNK: u64 = 1 << 63;
/// Longest time for which a refusal is remembered, in nanoseconds.
const REMEMBERED: u64 = 100_000_000;
/// Number of accounts with chunks, beyond which unused ones are forgotten.
const ACCOUNTS: usize = 10_000;

/// Returns true if a call took this from a chunk.
pub(super) fn is_of_chunk(hold: &Hold) -> bool {
    u64::from(hold.mark) & CHUNK != 0
}

impl Chunks {
    /// Takes what a call needs of the groups with chunks, or nothing. `now` is the server's time, and `local` this process's.
    pub(super) fn take<'a>(
        &mut self,
        request: &DecisionRequest<'a>,
        groups: impl Iterator<Item = (usize, &'a Group)> + Clone,
        (now, local): (u64, u64),
        create: impl Fn(&Group) -> (Tag, Id),
        holds: &mut Holds,
    ) -> Taking {
        let plan = &request.plan.name;
        for (number, group) in groups.clone() {
            let at = layout::account_ref(group, request.demand, plan);
            let chunk = self.accounts.entry(at).or_insert_with(|| Chunk::new(create(group)));
            chunk.per_mille = request.at.per_mille;
            chunk.provide(group, request, at);
            if let Some(taking) = chunk.obstacle(request, (number, group), at, (now, local)) {
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

    /// Returns the levels of a group's rules, as far as they are known.
    pub(super) fn levels(&self, group: &Group, at: AccountRef, time: DecisionTime) -> impl Iterator<Item = Level> {
        let chunk = self.accounts.get(&at);
        group.rules.iter().map(move |rule| {
            let pool = chunk.and_then(|chunk| chunk.pools.iter().find(|pool| pool.need.counter == rule.id));
            let stored = pool.and_then(|pool| Some((pool, pool.stored.as_ref()?)));
            stored.map_or(Level::Unused, |(pool, stored)| stored.level(pool.need.rate(time)))
        })
    }

    /// Settles what a call took of one account. Returns true if calls wait for the account.
    pub(super) fn settle(&mut self, holds: &[Hold], settlement: &Settlement, shares: &[u8]) -> bool {
        let Some(chunk) = holds.first().and_then(|hold| self.accounts.get_mut(&hold.account_ref)) else { return false };
        chunk.open = chunk.open.saturating_sub(1);
        chunk.refused_until = 0;
        if *chunk.shares != *shares {
            chunk.shares = shares.into();
        }
        for hold in holds {
            let used = settlement.amount(hold.kind, hold.amount);
            if let Some(pool) = chunk.pools.iter_mut().find(|pool| pool.need.counter == hold.counter) {
                pool.settle(u64::from(hold.mark) & !CHUNK, hold.amount, used);
            }
        }
        chunk.awaited
    }

    /// Returns the next report of an account, or the one that was sent and not acknowledged; `None` if it has no chunks.
    pub(super) fn report(&mut self, at: AccountRef, now: u64, lease: u64) -> Option<Lease> {
        let is_closing = self.is_closing;
        let chunk = self.accounts.get_mut(&at)?;
        let is_new = chunk.sent.is_none();
        let counters = *chunk.sent.get_or_insert(chunk.pools.len());
        chunk.number += u64::from(is_new);
        let is_renewal = chunk.pools.iter().all(|pool| pool.pending.sum == 0);
        let is_quick = now.saturating_sub(chunk.filled_at) < lease / 3;
        let report = |pool: &mut Pool| {
            if is_new {
                pool.sent = pool.entries();
                pool.resize(is_renewal, is_quick);
            }
            let Needs { sum, most } = std::mem::take(&mut pool.pending);
            pool.asked.add(sum, most);
            let (in_use, Needs { sum, most }) = (pool.in_use(now), pool.asked);
            let size = if is_closing { sum } else { pool.size.max(sum) };
            // What is in use is needed again after a loss.
            let need = Some(in_use.saturating_add(most)).filter(|need| *need > 0);
            let need = RuleNeed { take: Some(in_use.saturating_add(size)), need, ..pool.need.clone() };
            PoolReport { need, entries: pool.sent.clone() }
        };
        let pools = chunk.pools.iter_mut().take(counters).map(report).collect();
        let (tag, shares) = (Arc::clone(&chunk.tag), Arc::clone(&chunk.shares));
        let Chunk { id, number, per_mille, awaited, .. } = *chunk;
        Some(Lease { tag, id, number, per_mille, waits: awaited, shares, born: 0, pools })
    }

    /// Takes over the server's reply to a report that was sent at `sent_at`, by this process's clock. Returns true if calls
    /// wait for the account.
    pub(super) fn reply(
        &mut self,
        at: AccountRef,
        replies: Vec<PoolReply>,
        (now, expires): (u64, u64),
        per_mille: u32,
    ) -> bool {
        let Some(chunk) = self.accounts.get_mut(&at) else { return false };
        (chunk.sent, chunk.reporting, chunk.failing) = (None, false, None);
        (chunk.expires, chunk.filled_at) = (expires, now);
        let time = DecisionTime { now, per_mille };
        let mut wait = 0;
        for (pool, reply) in chunk.pools.iter_mut().zip(replies) {
            pool.refused = (!reply.has_room).then_some(pool.asked.most);
            if !reply.has_room {
                pool.stored = Some(reply.stored.clone());
                wait = wait.max(match pool.wait(pool.asked.most, time) {
                    Wait::Nanos(nanos) => nanos.min(REMEMBERED),
                    Wait::Not => 0,
                    Wait::Unknown | Wait::Ever => REMEMBERED,
                });
            }
            pool.reply(reply);
        }
        chunk.refused_until = if wait == 0 { 0 } else { now.saturating_add(wait) };
        chunk.replied.notify_waiters();
        chunk.awaited
    }

    /// Forgets that an account had no room.
    pub(super) fn forget_refusal(&mut self, at: AccountRef) {
        if let Some(chunk) = self.accounts.get_mut(&at) {
            chunk.refused_until = 0;
        }
    }

    /// Marks that an attempt to report has failed. It is tried again.
    pub(super) fn fail(&mut self, at: AccountRef, kind: ErrorKind) {
        if let Some(chunk) = self.accounts.get_mut(&at) {
            chunk.failing = Some(kind);
            chunk.replied.notify_waiters();
        }
    }

    /// Marks that no report of an account is on its way.
    pub(super) fn give_up(&mut self, at: AccountRef, kind: ErrorKind) {
        self.fail(at, kind);
        if let Some(chunk) = self.accounts.get_mut(&at) {
            chunk.reporting = false;
        }
    }

    /// Returns true if a report of an account is to be sent, and notes that it is on its way.
    pub(super) fn begin_report(&mut self, at: AccountRef) -> bool {
        self.accounts.get_mut(&at).is_some_and(|chunk| !std::mem::replace(&mut chunk.reporting, true))
    }

    /// Returns the accounts that have something to report or to renew, and forgets unused ones beyond a number.
    pub(super) fn due(&mut self) -> Vec<AccountRef> {
        let is_due = |chunk: &Chunk| chunk.sent.is_some() || chunk.pools.iter().any(Pool::is_due);
        if self.accounts.len() > ACCOUNTS {
            self.accounts.retain(|_, chunk| is_due(chunk) || chunk.open > 0 || chunk.awaited || chunk.reporting);
        }
        self.accounts.iter().filter(|(_, chunk)| is_due(chunk)).map(|(at, _)| *at).collect()
    }

    /// Returns true if an account has something to report, or leases more than its calls hold.
    pub(super) fn has_surplus(&self, at: AccountRef) -> bool {
        self.accounts.get(&at).is_some_and(|chunk| chunk.pools.iter().any(Pool::has_surplus))
    }

    /// Notes that calls wait for an account, or that they do no longer.
    pub(super) fn set_awaited(&mut self, at: AccountRef, awaited: bool) {
        if let Some(chunk) = self.accounts.get_mut(&at) {
            chunk.awaited = awaited;
        }
    }

    /// Returns the tag of an account.
    pub(super) fn tag(&self, at: AccountRef) -> Option<&Arc<Tag>> {
        self.accounts.get(&at).map(|chunk| &chunk.tag)
    }

    /// Returns the number of open reservations, each counted once for every account it is in.
    pub(super) fn open(&self) -> usize {
        self.accounts.values().map(|chunk| chunk.open).sum()
    }
}

impl Chunk {
    fn new((tag, id): (Tag, Id)) -> Self {
        Self {
            tag: Arc::new(tag),
            id,
            number: 0,
            per_mille: 1_000,
            shares: Arc::new([]),
            pools: SmallVec::new(),
            expires: 0,
            open: 0,
            awaited: false,
            reporting: false,
            sent: None,
            failing: None,
            refused_until: 0,
            filled_at: 0,
            replied: Arc::default(),
        }
    }

    /// Adds the counters of a group that it does not have yet.
    #[inline]
    fn provide(&mut self, group: &Group, request: &DecisionRequest<'_>, at: AccountRef) {
        for rule in &group.rules {
            match self.pools.iter_mut().find(|pool| pool.need.counter == rule.id) {
                Some(pool) if Arc::ptr_eq(&pool.need.limit, &rule.limit) => {}
                Some(pool) => pool.need.limit = Arc::clone(&rule.limit),
                // The reply to a report that is on its way has the counters that the report had.
                None => self.pools.push(Pool::new(group, rule, request, at)),
            }
        }
    }

    /// Returns the reason why a call cannot take what it needs; `None` if it can.
    #[inline]
    fn obstacle(
        &mut self,
        request: &DecisionRequest<'_>,
        (number, group): (usize, &Group),
        at: AccountRef,
        (now, local): (u64, u64),
    ) -> Option<Taking> {
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        let blocked = |wait, rule| Some(Taking::Blocked(Blocked { wait, account_ref: Some(at), group: number, rule }));
        let is_new = request.standing == Standing::New;
        let (mut lacks, is_expired, waits) = (false, local >= self.expires, self.awaited && is_new);
        for (position, rule) in group.rules.iter().enumerate() {
            let needed = rule.needed(request.demand).filter(|_| request.standing != Standing::Regardless);
            let Some(n) = needed.or(request.takes(rule)) else { continue };
            let Some(pool) = self.pools.iter_mut().find(|pool| pool.need.counter == rule.id) else { continue };
            let position = u16::try_from(position).ok();
            match needed {
                Some(n) if n > rule.limit.quota().most() => return blocked(Wait::Ever, position),
                Some(_) if waits => return blocked(Wait::Unknown, None),
                Some(n) if !is_expired && n <= pool.available(now) && pool.leased > 0 => continue,
                Some(n) if now < self.refused_until && pool.refused.is_some_and(|refused| n >= refused) => {
                    let time = DecisionTime { now, per_mille: self.per_mille };
                    return blocked(pool.wait(n, time), position);
                }
                // What is counted whatever the limits say needs to know the window.
                None if now < pool.until => continue,
                _ => {}
            }
            lacks = true;
            pool.pending.add(n.max(1), n.max(1));
        }
        match self.failing {
            _ if !lacks => None,
            Some(kind) if self.reporting => Some(Taking::Fails(kind)),
            _ => Some(Taking::Lacks(at, Arc::clone(&self.replied))),
        }
    }

    #[inline]
    fn take(&mut self, group: &Group, request: &DecisionRequest<'_>, at: AccountRef, holds: &mut Holds) {
        let mut takes = false;
        for rule in &group.rules {
            let Some(amount) = request.takes(rule) else { continue };
            let Some(pool) = self.pools.iter_mut().find(|pool| pool.need.counter == rule.id) else { continue };
            takes = true;
            let mark = Mark::from(CHUNK | pool.take(amount));
            holds.push(Hold { account_ref: at, counter: rule.id, kind: rule.kind, amount, mark });
        }
        self.open += usize::from(takes);
    }
}
