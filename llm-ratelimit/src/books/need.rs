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
    pub(super) fn find(&mut self, stripe: &mut Stripe, most: usize, demand: &Demand, plan: &str, at: Moment) {
        self.index = stripe.find(self.hash, self.group, demand, plan);
        if self.index.is_none() && !stripe.has_room(most, at.now) {
            self.index = stripe.overflow(self.group.id);
        }
    }

    /// The level of a rule in its account.
    pub(super) fn level(&self, stripe: &mut Stripe, rule: &Rule, at: Moment) -> Level {
        let account = self.index.and_then(|index| stripe.slots[index as usize].as_mut());
        let counter = account.and_then(|account| account.counter(rule, at));
        counter.map(|counter| counter.level()).unwrap_or_else(|| {
            let mut blank = Counter::new(rule, at);
            blank.advance(rule, at);
            blank.level()
        })
    }

    /// Whether the call holds anything of it.
    pub(super) fn holds(&self, demand: &Demand) -> bool {
        self.group.rules.iter().any(|rule| demand.amount(rule).is_some())
    }

    /// Whether the call needs room in it.
    fn asks(&self, demand: &Demand) -> bool {
        self.group.rules.iter().any(|rule| demand.needed(rule).is_some())
    }

    /// What is in the way, if anything is.
    pub(super) fn check(&self, stripe: &mut Stripe, demand: &Demand, at: Moment, waited: bool) -> Option<Blocked> {
        let spot = self.index.map(|index| Spot::new(self.stripe, index));
        let mut account = self.index.and_then(|index| stripe.slots[index as usize].as_mut());
        if let Some(account) = &mut account {
            // From here on it is not idle: room that is made for another must not be its.
            account.used_at = at.now;
        }
        let mut worst = None;
        for (number, rule) in self.group.rules.iter().enumerate() {
            let Some(amount) = demand.needed(rule) else { continue };
            let wait = match account.as_mut().and_then(|account| account.counter(rule, at)) {
                Some(counter) => counter.wait(rule, amount, at),
                None if amount > rule.limit.quota().most() => Wait::Ever,
                None if amount > scaled(rule.limit.quota().most(), at.per_mille) => Wait::Unknown,
                None => Wait::Not,
            };
            if wait > worst.map_or(Wait::Not, |blocked: Blocked| blocked.wait) {
                worst = Some(Blocked { spot, group: self.number, rule: Some(number), wait });
            }
        }
        let queued = !waited && account.is_some_and(|account| account.awaited) && self.asks(demand);
        worst.or_else(|| queued.then_some(Blocked { spot, group: self.number, rule: None, wait: Wait::Unknown }))
    }

    /// Its account: the one that was found, or a new one.
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
