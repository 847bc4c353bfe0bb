//! Calls that wait for room.
//!
//! Each account for which calls wait has a wait queue. The order of a queue follows from start-time fair queueing:
//! each call starts where its tenant's last one ended, in shares of the limit divided by the plan's weight, so a tenant
//! with ten thousand calls does not delay another's first. Interactive calls go first, but every sixteenth turn is a
//! background call's. Only the first call of a queue has a timer for the queue. A call that gives something back to the
//! account drains the queue, too.
//!
//! Decisions are made outside of the queues' lock, one at a time for each queue: see [`Turn`].

mod ticket;
mod turn;
mod wait_queue;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    task::Waker,
    time::Duration,
};

use llm_core::Tenant;
use smallvec::SmallVec;
use tokio::time::Instant;

use self::{
    ticket::{Ticket, Waiter},
    turn::Turn,
    wait_queue::{Place, WaitQueue},
};
use crate::{
    Demand, NoRuntime, Reason, Refusal, Reservation, Waiting,
    account_ref::AccountRef,
    accounts::Standing,
    blocked::Blocked,
    counter::Wait,
    inner::Inner,
    rules::{PlanRules, Rule},
    runtime::timers,
    telemetry,
};

#[derive(Debug)]
pub(crate) struct Queue {
    settings: Option<Waiting>,
    lines: Mutex<WaitQueues>,
}

#[derive(Debug, Default)]
struct WaitQueues {
    lines: HashMap<AccountRef, WaitQueue>,
    /// Volume of all calls that wait.
    all: Volume,
    /// Volume of each tenant that waits.
    each: HashMap<Tenant, Volume>,
    next: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Volume {
    tokens: u64,
    calls: usize,
}

/// Work that is done once the queues are unlocked again.
#[derive(Default)]
struct After {
    wake: Vec<Waker>,
    /// Queues that are to be drained.
    drain: AccountRefs,
}

type AccountRefs = SmallVec<[AccountRef; 4]>;

impl Queue {
    pub(crate) fn new(settings: Option<Waiting>) -> Self {
        Self { settings, lines: Mutex::default() }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.lock().all.calls
    }

    /// Reserves, waiting if it must and may.
    pub(crate) async fn reserve(inner: &Arc<Inner>, demand: &Demand) -> Result<Reservation, Refusal> {
        let outcome = inner.reserve(demand, Standing::New).await;
        Self::wait(inner, demand, outcome).await
    }

    /// Returns true if a call with this outcome waits.
    pub(crate) fn waits_after(&self, outcome: &Result<Reservation, Refusal>) -> bool {
        self.settings.is_some() && outcome.as_ref().is_err_and(Refusal::may_wait)
    }

    /// Waits after an outcome at once, if it must and may.
    pub(crate) async fn wait(
        inner: &Arc<Inner>,
        demand: &Demand,
        outcome: Result<Reservation, Refusal>,
    ) -> Result<Reservation, Refusal> {
        let Some(settings) = inner.queue.settings else { return outcome };
        let (refusal, blocked) = match outcome {
            Ok(reservation) => return Ok(reservation),
            Err(refusal) => match refusal.blocked.filter(|_| refusal.may_wait()) {
                Some(blocked) => (refusal, blocked),
                None => return Err(refusal),
            },
        };
        let ticket = Self::join(inner, demand, &settings, &blocked, refusal.statuses.plan())
            .map_err(|reason| refusal.because(reason))?;
        inner.counts.waited.fetch_add(1, Relaxed);
        let began = Instant::now();
        let outcome = ticket.wait(inner).await;
        telemetry::waited(&inner.plan_of(&demand.tenant).name, began.elapsed());
        outcome
    }

    /// Takes a place in a queue, or returns the reason why there is none.
    fn join(
        inner: &Arc<Inner>,
        demand: &Demand,
        settings: &Waiting,
        blocked: &Blocked,
        plan: &PlanRules,
    ) -> Result<Ticket, Reason> {
        timers().map_err(|NoRuntime| Reason::NoRuntime)?;
        let now = Instant::now();
        let timeout = now.checked_add(settings.longest).unwrap_or_else(|| now + Duration::from_secs(30 * 86_400));
        let deadline = demand.deadline.map_or(timeout, |deadline| timeout.min(deadline.into()));
        let mut lines = inner.queue.lock();
        let place = lines.place(demand, plan, blocked);
        if now + lines.least(blocked, plan, &place) > deadline {
            return Err(Reason::TooLate);
        }
        let mut after = After::default();
        let shed = lines.make_room(demand, settings, &mut after).ok_or(Reason::QueueFull)?;
        let waiter = Arc::new(Waiter::new(demand.clone(), deadline));
        lines.enter(inner, &waiter, place, blocked, &mut after);
        drop(lines);
        let ticket = Ticket::new(Arc::clone(inner), Arc::clone(&waiter));
        after.wake.extend(shed.into_iter().filter_map(|waiter| waiter.leave(Reason::QueueFull)));
        after.run(inner);
        Ok(ticket)
    }

    /// Returns true if a call waits for an account.
    pub(crate) fn waits_for(&self, account_ref: AccountRef) -> bool {
        self.settings.is_some() && self.lock().lines.contains_key(&account_ref)
    }

    /// Returns the amount that waiting calls want of what a rule counts.
    pub(crate) fn wanted(&self, account_ref: AccountRef, rule: &Rule) -> u64 {
        self.lock().lines.get(&account_ref).map_or(0, |wait_queue| wait_queue.wanted(rule))
    }

    /// Serves a queue as far as there is room, and those that its calls go on to. Where a decision needs a round trip, the
    /// first call's own task goes on.
    pub(crate) fn drain(&self, inner: &Arc<Inner>, account_ref: AccountRef) {
        let mut due = AccountRefs::from_slice(&[account_ref]);
        while let Some(account_ref) = due.pop() {
            let Some(turn) = Turn::begin(inner, account_ref) else { continue };
            match inner.reserve_at_once(turn.demand(), Standing::Waited) {
                Some(outcome) => turn.conclude(outcome, &mut due),
                None => turn.hand_over(),
            }
        }
    }

    /// As [`drain`](Self::drain), and awaits decisions.
    async fn serve(&self, inner: &Arc<Inner>, account_ref: AccountRef) {
        let mut due = AccountRefs::from_slice(&[account_ref]);
        while let Some(account_ref) = due.pop() {
            let Some(turn) = Turn::begin(inner, account_ref) else { continue };
            let outcome = inner.reserve(turn.demand(), Standing::Waited).await;
            turn.conclude(outcome, &mut due);
        }
    }

    /// Drains all queues.
    pub(crate) fn drain_all(&self, inner: &Arc<Inner>) {
        let account_refs: Vec<AccountRef> = self.lock().lines.keys().copied().collect();
        account_refs.into_iter().for_each(|account_ref| self.drain(inner, account_ref));
    }

    /// Refuses waiting calls that an operator sheds.
    pub(crate) fn shed(&self, inner: &Arc<Inner>) {
        let (rules, mut after) = (inner.rules.load(), After::default());
        let mut lines = self.lock();
        let shed = |waiter: &Waiter| {
            let plan = rules.of(&waiter.demand.tenant);
            Some(inner.refuse(inner.controls.refuse(&waiter.demand, &plan.name)?, plan))
        };
        let gone: Vec<_> = lines.lines.values_mut().flat_map(|wait_queue| wait_queue.remove_where(shed)).collect();
        for (waiter, refusal) in gone {
            lines.leave(&waiter.demand);
            after.wake.extend(waiter.end(Err(refusal)));
        }
        drop(lines);
        after.run(inner);
    }

    /// Refuses all calls that wait.
    pub(crate) fn refuse_all(&self, inner: &Arc<Inner>, reason: Reason) {
        let mut after = After::default();
        let mut lines = self.lock();
        for (account_ref, wait_queue) in std::mem::take(&mut lines.lines) {
            inner.accounts.set_awaited(account_ref, false);
            for waiter in wait_queue.into_waiters() {
                lines.leave(&waiter.demand);
                let refusal = inner.refuse(reason, inner.rules.load().of(&waiter.demand.tenant));
                after.wake.extend(waiter.end(Err(refusal)));
            }
        }
        drop(lines);
        after.run(inner);
    }

    /// Takes a call out of its queue whose caller has gone.
    fn abandon(&self, inner: &Arc<Inner>, waiter: &Waiter) {
        let mut after = After::default();
        let mut lines = self.lock();
        if let Some(place) = waiter.place() {
            let first = lines.lines.get_mut(&place.account_ref).is_some_and(|wait_queue| wait_queue.remove(&place));
            lines.leave(&waiter.demand);
            waiter.set_place(None);
            if first {
                after.drain.push(place.account_ref);
            }
        }
        drop(lines);
        after.run(inner);
    }

    fn lock(&self) -> MutexGuard<'_, WaitQueues> {
        // Nothing foreign runs under this lock but the clock's reading and tenants' comparisons.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitQueues {
    /// Returns the place of a call in the queue of the account that has no room for it.
    fn place(&mut self, demand: &Demand, plan: &PlanRules, blocked: &Blocked) -> Place {
        let account_ref = blocked.account_ref.expect("only what exists is waited for");
        self.next += 1;
        let number = self.next;
        let share = share_of(demand, plan, blocked);
        self.lines.get(&account_ref).unwrap_or(&WaitQueue::default()).place(account_ref, demand, share, number)
    }

    /// The least that a call will wait: until there is room, and what stands before it in line has gone through.
    fn least(&self, blocked: &Blocked, plan: &PlanRules, place: &Place) -> Duration {
        let Wait::Nanos(nanos) = blocked.wait else { return Duration::ZERO };
        let ahead = || {
            let rule = &plan.groups[usize::from(blocked.group)].rules[usize::from(blocked.rule?)];
            let before = self.lines.get(&place.account_ref)?.before(place, rule);
            rule.limit.quota().nanos_for(before)
        };
        Duration::from_nanos(nanos.saturating_add(ahead().unwrap_or(0)))
    }

    /// Puts a call into a queue. If it is the first, the queue is to be drained: room that came back since the call was
    /// refused woke no call that it is the turn of.
    fn enter(&mut self, inner: &Inner, waiter: &Arc<Waiter>, place: Place, blocked: &Blocked, after: &mut After) {
        self.all.add(&waiter.demand);
        self.each.entry(waiter.demand.tenant.clone()).or_default().add(&waiter.demand);
        waiter.set_place(Some(place.clone()));
        if !self.lines.contains_key(&place.account_ref) {
            inner.accounts.set_awaited(place.account_ref, true);
        }
        if self.lines.entry(place.account_ref).or_default().insert(&place, Arc::clone(waiter)) {
            after.wake.extend(waiter.alarm(alarm(blocked.wait)));
            after.drain.push(place.account_ref);
        }
    }

    fn leave(&mut self, demand: &Demand) {
        self.all.subtract(demand);
        if let Some(volume) = self.each.get_mut(&demand.tenant) {
            volume.subtract(demand);
            if volume.calls == 0 {
                self.each.remove(&demand.tenant);
            }
        }
    }

    /// Takes out the last calls of the tenant with the most waiting, until there is room for one more. `None` if that tenant
    /// would have less left than the tenant of the new call: no tenant fills the queue for others.
    fn make_room(&mut self, demand: &Demand, settings: &Waiting, after: &mut After) -> Option<Vec<Arc<Waiter>>> {
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

impl After {
    /// The queues must not be locked.
    fn run(self, inner: &Arc<Inner>) {
        self.drain.into_iter().for_each(|account_ref| inner.queue.drain(inner, account_ref));
        self.wake.into_iter().for_each(Waker::wake);
    }
}

/// Returns the time at which to look again.
fn alarm(wait: Wait) -> Option<Instant> {
    match wait {
        // NOTE: tokio's timers are no finer than a millisecond.
        Wait::Nanos(nanos) => Instant::now().checked_add(Duration::from_nanos(nanos)),
        Wait::Not | Wait::Unknown | Wait::Ever => None,
    }
}

/// A call's share of the limit that has no room for it, in 2⁻³² of it, divided by its plan's weight.
fn share_of(demand: &Demand, plan: &PlanRules, blocked: &Blocked) -> u64 {
    let rules = &plan.groups[usize::from(blocked.group)].rules;
    let Some(rule) = rules.get(usize::from(blocked.rule.unwrap_or(0))) else { return 1 };
    let share = (u128::from(rule.amount(demand).unwrap_or(0)) << 32) / u128::from(rule.limit.quota().amount());
    u64::try_from(share / u128::from(plan.weight)).unwrap_or(u64::MAX).max(1)
}
