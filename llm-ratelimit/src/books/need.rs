//! What a call needs of one account.

use super::{Blocked, Spot, stripe::Stripe};
use crate::{
    Demand,
    account::Account,
    counter::{Counter, Level, Moment, Wait},
    quota::scaled,
    rules::{Group, Rule},
};

/// An account that a call needs.
pub(super) struct Need<'a> {
    pub(super) group: &'a Group,
    pub(super) number: usize,
    pub(super) hash: u64,
    pub(super) stripe: usize,
    pub(super) index: Option<u32>,
}

impl Need<'_> {
    /// Finds its account, or the catch-all account where there is no room for one.
    #[inline]
    pub(super) fn find(&mut self, stripe: &mut Stripe, most: usize, demand: &Demand, plan: &str, at: Moment) {
        self.index = stripe.find(self.hash, self.group, demand, plan);
        if self.index.is_none() && !stripe.has_room(most, at.now) {
            self.index = stripe.overflow(self.group.id);
        }
    }

    /// Brings the counters of its account to now.
    pub(super) fn advance(&self, stripe: &mut Stripe, at: Moment) {
        let Some(account) = self.index.and_then(|index| stripe.slots[index as usize].as_mut()) else { return };
        for rule in &self.group.rules {
            account.counter(rule, at);
        }
    }

    /// The level of a rule in its account, which has been brought to now.
    #[inline]
    pub(super) fn level(&self, stripe: &Stripe, rule: &Rule, at: Moment) -> Level {
        let account = self.index.and_then(|index| stripe.slots[index as usize].as_ref());
        let counter = account.and_then(|account| account.counters.iter().find(|counter| counter.id == rule.id));
        counter.map_or_else(|| Counter::new(rule, at).level(), Counter::level)
    }

    /// Whether the call holds anything of it.
    #[inline]
    pub(super) fn holds(&self, demand: &Demand) -> bool {
        self.group.rules.iter().any(|rule| demand.amount(rule).is_some())
    }

    /// Whether the call needs room in it.
    fn asks(&self, demand: &Demand) -> bool {
        self.group.rules.iter().any(|rule| demand.needed(rule).is_some())
    }

    /// What is in the way, if anything is. Brings the counters of its account to now.
    #[inline]
    pub(super) fn check(&self, stripe: &mut Stripe, demand: &Demand, at: Moment, waited: bool) -> Option<Blocked> {
        let spot = self.index.map(|index| Spot::new(self.stripe, index));
        let mut account = self.index.and_then(|index| stripe.slots[index as usize].as_mut());
        if let Some(account) = &mut account {
            // From here on it is not idle: room that is made for another must not be its.
            account.used_at = at.now;
        }
        let blocked = |rule, wait| Some(Blocked { wait, spot, group: small(self.number), rule });
        let mut worst = None;
        for (number, rule) in self.group.rules.iter().enumerate() {
            let counter = account.as_mut().and_then(|account| account.counter(rule, at));
            let Some(amount) = demand.needed(rule) else { continue };
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
        let queued = !waited && account.is_some_and(|account| account.awaited) && self.asks(demand);
        if worst.is_none() && queued { blocked(None, Wait::Unknown) } else { worst }
    }

    /// Its account: the one that was found, or a new one.
    #[inline]
    pub(super) fn account<'s>(
        &mut self,
        stripe: &'s mut Stripe,
        most: usize,
        demand: &Demand,
        plan: &str,
    ) -> &'s mut Account {
        let index = self.index.unwrap_or_else(|| {
            stripe.insert(match stripe.table.len() < most {
                true => Account::new(self.group, demand, plan),
                false => Account::overflow(self.group.id),
            })
        });
        self.index = Some(index);
        stripe.slots[index as usize].as_mut().expect("it was found or inserted")
    }
}

/// A position among a plan's groups, or a group's rules.
fn small(number: usize) -> u16 {
    u16::try_from(number).expect("an operator names fewer limits than that")
}
