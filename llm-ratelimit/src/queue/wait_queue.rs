//! Queue of the calls that wait for one account.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use llm_core::{Priority, Tenant};

use super::{place::Place, waiter::Waiter};
use crate::{Demand, account_ref::AccountRef, rules::Rule};

#[derive(Debug, Default)]
pub(crate) struct WaitQueue {
    /// Waiting calls of interactive priority, and waiting calls of all other priorities.
    classes: [Class; 2],
    /// Number of consecutive interactive calls that were served while background calls waited.
    streak: u32,
    turn: TurnState,
}

/// State of a queue's turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TurnState {
    #[default]
    Free,
    Runs,
    /// A turn runs, and its decision may not have seen an amount that was returned meanwhile.
    LooksAgain,
}

#[derive(Debug, Default)]
struct Class {
    order: BTreeMap<(u64, u64), Arc<Waiter>>,
    /// Virtual start of the call that was served last.
    now: u64,
    /// Virtual end of each tenant's last call, if it is later than `now`.
    ends: HashMap<Tenant, u64>,
}

/// While background calls wait, one of this number of served calls is a background call.
const TURNS: u32 = 16;

impl WaitQueue {
    /// Returns the place of a call that needs this share of the limit.
    pub(crate) fn place(&self, account_ref: AccountRef, demand: &Demand, share: u64, number: u64) -> Place {
        let class = class_of(demand.priority);
        let Class { now, ends, .. } = &self.classes[class];
        let start = ends.get(&demand.tenant).map_or(*now, |end| *now.max(end));
        Place { account_ref, class, start, number, share }
    }

    /// Inserts a call at its place. Returns `true` if it is now the first.
    pub(crate) fn insert(&mut self, place: &Place, waiter: Arc<Waiter>) -> bool {
        let Class { order, now, ends } = &mut self.classes[place.class];
        if ends.len() > 2 * order.len() + 64 {
            ends.retain(|_, end| *end > *now);
        }
        ends.insert(waiter.demand.tenant.clone(), place.start.saturating_add(place.share));
        order.insert(place.key(), waiter);
        self.first().is_some_and(|(first, _)| first == *place)
    }

    /// Removes a call from the queue. Returns `true` if it was the call to be served next.
    pub(crate) fn remove(&mut self, place: &Place) -> bool {
        let first = self.first().is_some_and(|(first, _)| first == *place);
        self.classes[place.class].order.remove(&place.key());
        first
    }

    /// Removes a call that is served, and advances the virtual time of its class.
    pub(crate) fn serve(&mut self, place: &Place) {
        self.classes[place.class].order.remove(&place.key());
        self.classes[place.class].now = place.start;
        let background_waits = !self.classes[1].order.is_empty();
        self.streak = if place.class == 0 && background_waits { self.streak + 1 } else { 0 };
    }

    /// Begins a turn. Returns `false` if another turn runs, which then decides once more.
    pub(crate) fn begin_turn(&mut self) -> bool {
        let is_free = self.turn == TurnState::Free;
        self.turn = if is_free { TurnState::Runs } else { TurnState::LooksAgain };
        is_free
    }

    /// Ends the running turn. Returns `true` if it must decide once more.
    pub(crate) fn end_turn(&mut self) -> bool {
        std::mem::take(&mut self.turn) == TurnState::LooksAgain
    }

    /// Returns the call that is served next.
    pub(crate) fn first(&self) -> Option<(Place, Arc<Waiter>)> {
        let order = if self.streak + 1 < TURNS { [0, 1] } else { [1, 0] };
        order.into_iter().find_map(|class| {
            let waiter = self.classes[class].order.first_key_value()?.1;
            Some((waiter.place()?, Arc::clone(waiter)))
        })
    }

    /// Returns the amount that the calls before a place, in the same class, need. Only the first hundred calls are
    /// counted.
    pub(crate) fn before(&self, place: &Place, rule: &Rule) -> u64 {
        let before = self.classes[place.class].order.range(..place.key()).take(100);
        before.filter_map(|(_, waiter)| rule.amount(&waiter.demand)).fold(0, u64::saturating_add)
    }

    /// Returns the amount that all waiting calls need. Only the first hundred calls of each class are counted.
    pub(crate) fn wanted(&self, rule: &Rule) -> u64 {
        let first = self.classes.iter().flat_map(|class| class.order.values().take(100));
        first.filter_map(|waiter| rule.amount(&waiter.demand)).fold(0, u64::saturating_add)
    }

    /// Returns the call of a tenant that would be served last.
    pub(crate) fn last_of(&self, tenant: &Tenant) -> Option<(Place, Arc<Waiter>)> {
        let last = self.classes.iter().rev().flat_map(|class| class.order.values().rev());
        let waiter = last.into_iter().find(|waiter| waiter.demand.tenant == *tenant)?;
        Some((waiter.place()?, Arc::clone(waiter)))
    }

    /// Removes the calls for which `reason` returns a reason.
    pub(crate) fn remove_where<R>(&mut self, reason: impl Fn(&Waiter) -> Option<R>) -> Vec<(Arc<Waiter>, R)> {
        let mut gone = Vec::new();
        for class in &mut self.classes {
            class.order.retain(|_, waiter| match reason(waiter) {
                Some(reason) => {
                    gone.push((Arc::clone(waiter), reason));
                    false
                }
                None => true,
            });
        }
        gone
    }

    pub(crate) fn into_waiters(self) -> impl Iterator<Item = Arc<Waiter>> {
        self.classes.into_iter().flat_map(|class| class.order.into_values())
    }
}

/// Returns the class of a priority. Class 0, of interactive calls, is served first.
fn class_of(priority: Priority) -> usize {
    usize::from(priority != Priority::Interactive)
}
