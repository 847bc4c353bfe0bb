//! Requirement of a call: the amounts that it needs from one account.

use super::shard::Shard;
use crate::{
    Demand,
    account::Account,
    account_ref::AccountRef,
    accounts::{DecisionRequest, Standing},
    blocked::Blocked,
    counter::{Counter, DecisionTime, Level, Levels, Wait},
    quota::scaled,
    rules::Group,
};

/// Account that a call needs, with the rules that count the call there.
pub(super) struct Requirement<'a> {
    pub(super) group: &'a Group,
    pub(super) number: usize,
    pub(super) hash: u64,
    pub(super) shard: usize,
    /// Index of the shard's lock in the list of locks that the call holds.
    pub(super) guard: usize,
    /// Position of the account in the shard; `None` if it has not been found yet or does not exist.
    pub(super) index: Option<u32>,
}

impl Requirement<'_> {
    /// Finds the account of the requirement, or the catch-all account if the shard has no room for another account.
    #[inline(always)]
    pub(super) fn find(&mut self, shard: &mut Shard, most: usize, demand: &Demand, plan: &str, at: DecisionTime) {
        self.index = shard.find(self.hash, self.group, demand, plan);
        if self.index.is_none() && !shard.has_room(most, at.now) {
            self.index = shard.catch_all(self.group.id);
        }
    }

    /// Advances the counters of the requirement's account to the present.
    pub(super) fn advance(&self, shard: &mut Shard, at: DecisionTime) {
        let Some(account) = self.index.and_then(|index| shard.slots[index as usize].as_mut()) else { return };
        for rule in &self.group.rules {
            account.counter(rule, at);
        }
    }

    /// Writes the levels of the group's rules to their positions in the plan. The counters must have been advanced to
    /// the present.
    #[inline(always)]
    pub(super) fn add_levels(&self, shard: &Shard, at: DecisionTime, levels: &mut Levels) {
        let account = self.index.and_then(|index| shard.slots[index as usize].as_ref());
        // Groups before this one that do not apply to the call are unused.
        levels.resize(self.group.first, Level::Unused);
        for rule in &self.group.rules {
            let counter = account.and_then(|account| account.counters.iter().find(|counter| counter.id == rule.id));
            levels.push(counter.map_or_else(|| Counter::new(rule, at).level(), Counter::level));
        }
    }

    /// Returns `true` if the call will hold an amount in the account, even an amount of zero.
    #[inline]
    pub(super) fn holds(&self, request: &DecisionRequest<'_>) -> bool {
        self.group.rules.iter().any(|rule| request.takes(rule).is_some())
    }

    /// Returns `true` if the call needs room in the account.
    fn asks(&self, demand: &Demand) -> bool {
        self.group.rules.iter().any(|rule| rule.needed(demand).is_some())
    }

    /// Returns the obstacle with the longest wait that blocks the call in this account; `None` if the account has room.
    /// For a new call, calls that wait for the account are an obstacle too. Advances the counters of the account to the
    /// present.
    #[inline]
    pub(super) fn check(&self, shard: &mut Shard, request: &DecisionRequest<'_>) -> Option<Blocked> {
        let DecisionRequest { demand, at, standing, .. } = *request;
        let account_ref = self.index.map(|index| AccountRef::new(self.shard, index));
        let mut account = self.index.and_then(|index| shard.slots[index as usize].as_mut());
        if let Some(account) = &mut account {
            // The account counts as used now, so that it is not removed to make room for another account of the call.
            account.used_at = at.now;
        }
        let blocked = |rule, wait| Some(Blocked { wait, account_ref, group: small(self.number), rule });
        let mut worst = None;
        for (number, rule) in self.group.rules.iter().enumerate() {
            let counter = account.as_mut().and_then(|account| account.counter(rule, at));
            let Some(amount) = rule.needed(demand) else { continue };
            let wait = match counter {
                Some(counter) => counter.wait(rule, amount, at),
                None if amount > rule.limit.quota().most() => Wait::Ever,
                None if amount > scaled(rule.limit.quota().most(), at.per_mille) => Wait::Unknown,
                None => Wait::Not,
            };
            if wait > worst.map_or(Wait::Not, |blocked: Blocked| blocked.wait) {
                worst = blocked(Some(small(number)), wait);
            }
        }
        if standing == Standing::Regardless {
            return None;
        }
        let queued = standing == Standing::New && account.is_some_and(|account| account.awaited) && self.asks(demand);
        if worst.is_none() && queued { blocked(None, Wait::Unknown) } else { worst }
    }

    /// Returns the account that was found for the requirement, or creates it. If the shard is full, creates the
    /// catch-all account.
    #[inline]
    pub(super) fn account<'s>(
        &mut self,
        shard: &'s mut Shard,
        most: usize,
        demand: &Demand,
        plan: &str,
    ) -> &'s mut Account {
        let index = self.index.unwrap_or_else(|| {
            shard.insert(match shard.table.len() < most {
                true => Account::new(self.group, demand, plan),
                false => Account::catch_all(self.group.id),
            })
        });
        self.index = Some(index);
        shard.slots[index as usize].as_mut().expect("it was found or inserted")
    }
}

/// Converts a position among a plan's groups, or among a group's rules, to 16 bits.
fn small(number: usize) -> u16 {
    u16::try_from(number).expect("an operator names fewer limits than that")
}
