//! Wait queues: calls that wait for room, in one queue for each account that has none.
//!
//! The order of a queue is that of start-time fair queueing: the virtual start of each call is the virtual end of its
//! tenant's previous call, and the length of a call is its share of the limit divided by the plan's weight. So a tenant
//! with ten thousand calls does not delay another tenant's first call. Interactive calls are served first, but one of
//! sixteen served calls is a background call. Only the first call of a queue has a timer.

mod place;
mod wait_queue;
mod waiter;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use llm_core::Tenant;
use smallvec::SmallVec;
use tokio::time::Instant;

use self::wait_queue::WaitQueue;
pub(crate) use self::{
    place::Place,
    waiter::{Outcome, Waiter},
};
use crate::{
    Demand, Waiting,
    account_ref::AccountRef,
    accounts::Accounts,
    blocked::Blocked,
    counter::Wait,
    rules::{PlanRules, Rule},
};

/// Wait queues of a limiter, and the bounds on waiting.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) settings: Option<Waiting>,
    lines: Mutex<WaitQueues>,
}

#[derive(Debug, Default)]
pub(crate) struct WaitQueues {
    pub(crate) lines: HashMap<AccountRef, WaitQueue>,
    /// Number and tokens of all waiting calls.
    all: Volume,
    /// Number and tokens of the waiting calls of each tenant.
    each: HashMap<Tenant, Volume>,
    next: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Volume {
    tokens: u64,
    calls: usize,
}

/// Work to do after the queues are unlocked.
#[derive(Default)]
pub(crate) struct After {
    pub(crate) wake: Vec<Waker>,
    /// Queues to drain.
    pub(crate) drain: AccountRefs,
}

pub(crate) type AccountRefs = SmallVec<[AccountRef; 4]>;

impl Queue {
    pub(crate) fn new(settings: Option<Waiting>) -> Self {
        Self { settings, lines: Mutex::default() }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.lock().all.calls
    }

    /// Returns `true` if a call waits for the account.
    pub(crate) fn waits_for(&self, account_ref: AccountRef) -> bool {
        self.settings.is_some() && self.lock().lines.contains_key(&account_ref)
    }

    /// Returns the amount that the calls waiting for an account need under a rule. Only the first hundred calls of each
    /// class are counted.
    pub(crate) fn wanted(&self, account_ref: AccountRef, rule: &Rule) -> u64 {
        self.lock().lines.get(&account_ref).map_or(0, |wait_queue| wait_queue.wanted(rule))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, WaitQueues> {
        // Other code runs under this lock only to read the clock and to compare tenants.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitQueues {
    /// Returns the place of a call in the queue of the account that has no room for it.
    pub(crate) fn place(&mut self, demand: &Demand, plan: &PlanRules, blocked: &Blocked) -> Place {
        let account_ref = blocked.account_ref.expect("only what exists is waited for");
        self.next += 1;
        let number = self.next;
        let share = share_of(demand, plan, blocked);
        self.lines.get(&account_ref).unwrap_or(&WaitQueue::default()).place(account_ref, demand, share, number)
    }

    /// Returns the shortest time that a call will wait: until there is room, and the calls before it in the queue have
    /// been served.
    pub(crate) fn least(&self, blocked: &Blocked, plan: &PlanRules, place: &Place) -> Duration {
        let Wait::Nanos(nanos) = blocked.wait else { return Duration::ZERO };
        let ahead = || {
            let rule = &plan.groups[usize::from(blocked.group)].rules[usize::from(blocked.rule?)];
            let before = self.lines.get(&place.account_ref)?.before(place, rule);
            rule.limit.quota().nanos_for(before)
        };
        Duration::from_nanos(nanos.saturating_add(ahead().unwrap_or(0)))
    }

    /// Puts a call into a queue. If it becomes the first, the queue must be served, because room that was returned
    /// since the call was refused has woken no call.
    pub(crate) fn enter(
        &mut self,
        accounts: &dyn Accounts,
        waiter: &Arc<Waiter>,
        place: Place,
        blocked: &Blocked,
        after: &mut After,
    ) {
        self.all.add(&waiter.demand);
        self.each.entry(waiter.demand.tenant.clone()).or_default().add(&waiter.demand);
        waiter.set_place(Some(place.clone()));
        if !self.lines.contains_key(&place.account_ref) {
            accounts.set_awaited(place.account_ref, true);
        }
        if self.lines.entry(place.account_ref).or_default().insert(&place, Arc::clone(waiter)) {
            after.wake.extend(waiter.alarm(alarm(blocked.wait, accounts)));
            after.drain.push(place.account_ref);
        }
    }

    pub(crate) fn leave(&mut self, demand: &Demand) {
        self.all.subtract(demand);
        if let Some(volume) = self.each.get_mut(&demand.tenant) {
            volume.subtract(demand);
            if volume.calls == 0 {
                self.each.remove(&demand.tenant);
            }
        }
    }

    /// Removes the last calls of the tenant with the most waiting calls, until there is room for one more call. Returns
    /// the removed calls, or `None` if that tenant would then have fewer waiting calls than the tenant of the new call,
    /// so that no tenant can fill the queue at the cost of others. If the tokens of waiting calls exceed their bound,
    /// tokens are compared instead of calls.
    pub(crate) fn make_room(
        &mut self,
        demand: &Demand,
        settings: &Waiting,
        after: &mut After,
    ) -> Option<Vec<Arc<Waiter>>> {
        let mut gone = Vec::new();
        let tokens_over = self.all.tokens.saturating_add(demand.volume()).saturating_sub(settings.max_tokens);
        let calls_over = (self.all.calls + 1).saturating_sub(settings.max_calls) as u64;
        if tokens_over == 0 && calls_over == 0 {
            return Some(gone);
        }
        let counts_tokens = tokens_over > 0;
        let (size, over) = if counts_tokens { (demand.volume(), tokens_over) } else { (1, calls_over) };
        let of = |volume: &Volume| if counts_tokens { volume.tokens } else { volume.calls as u64 };
        let own = self.each.get(&demand.tenant).map_or(0, of).saturating_add(size);
        let (heaviest, most) = self.each.iter().max_by_key(|(_, volume)| of(volume))?;
        let (heaviest, most) = (heaviest.clone(), of(most));
        if most < own.saturating_add(over) {
            return None;
        }
        let enough = most - over;
        while self.each.get(&heaviest).is_some_and(|volume| of(volume) > enough) {
            let Some((place, waiter)) = self.lines.values().find_map(|wait_queue| wait_queue.last_of(&heaviest)) else {
                break;
            };
            let was_first = self.lines.get_mut(&place.account_ref).is_some_and(|wait_queue| wait_queue.remove(&place));
            self.leave(&waiter.demand);
            waiter.set_place(None);
            if was_first {
                after.drain.push(place.account_ref);
            }
            gone.push(waiter);
        }
        Some(gone)
    }
}

impl Volume {
    fn add(&mut self, demand: &Demand) {
        self.tokens = self.tokens.saturating_add(demand.volume());
        self.calls += 1;
    }

    fn subtract(&mut self, demand: &Demand) {
        self.tokens = self.tokens.saturating_sub(demand.volume());
        self.calls -= 1;
    }
}

/// Returns the time at which the first call of a queue is decided again; `None` if no time is known.
pub(crate) fn alarm(wait: Wait, accounts: &dyn Accounts) -> Option<Instant> {
    let wait = match wait {
        // NOTE: timers of tokio have a resolution of a millisecond.
        Wait::Nanos(nanos) => Some(Duration::from_nanos(nanos)),
        Wait::Not | Wait::Unknown | Wait::Ever => None,
    };
    let wait = wait.into_iter().chain(accounts.ask_again_after()).min()?;
    Instant::now().checked_add(wait)
}

/// Returns the share of the blocking limit that a call needs, divided by its plan's weight, in units of 2⁻³².
fn share_of(demand: &Demand, plan: &PlanRules, blocked: &Blocked) -> u64 {
    let rules = &plan.groups[usize::from(blocked.group)].rules;
    let Some(rule) = rules.get(usize::from(blocked.rule.unwrap_or(0))) else { return 1 };
    let share = (u128::from(rule.amount(demand).unwrap_or(0)) << 32) / u128::from(rule.limit.quota().amount());
    u64::try_from(share / u128::from(plan.weight)).unwrap_or(u64::MAX).max(1)
}
