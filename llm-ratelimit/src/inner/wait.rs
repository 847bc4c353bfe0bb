//! Waiting for room.
//!
//! When a call returns an amount to an account, the calls in the account's queue are served. Decisions are made outside
//! of the queues' lock, one at a time for each queue: see [`Turn`].

use std::{sync::Arc, task::Waker, time::Duration};

use tokio::time::Instant;

use super::{Inner, ticket::Ticket, turn::Turn};
use crate::{
    Demand, NoRuntime, Reason, Refusal, Reservation, Waiting,
    account_ref::AccountRef,
    accounts::Standing,
    blocked::Blocked,
    queue::{AccountRefs, After, Waiter},
    rules::PlanRules,
    runtime::timers,
    telemetry,
};

impl Inner {
    /// Reserves the amounts that a call needs. If there is no room and waiting is allowed, waits for room.
    pub(crate) async fn reserve_or_wait(self: &Arc<Self>, demand: &Demand) -> Result<Reservation, Refusal> {
        let outcome = self.reserve(demand, Standing::New).await;
        self.wait(demand, outcome).await
    }

    /// Returns `true` if a call with this outcome must wait.
    pub(crate) fn waits_after(&self, outcome: &Result<Reservation, Refusal>) -> bool {
        self.queue.settings.is_some() && outcome.as_ref().is_err_and(Refusal::may_wait)
    }

    /// Waits for room if `outcome` is a refusal for lack of room and waiting is allowed. Otherwise returns `outcome`.
    pub(crate) async fn wait(
        self: &Arc<Self>,
        demand: &Demand,
        outcome: Result<Reservation, Refusal>,
    ) -> Result<Reservation, Refusal> {
        let Some(settings) = self.queue.settings else { return outcome };
        let (refusal, blocked) = match outcome {
            Ok(reservation) => return Ok(reservation),
            Err(refusal) => match refusal.blocked.filter(|_| refusal.may_wait()) {
                Some(blocked) => (refusal, blocked),
                None => return Err(refusal),
            },
        };
        let ticket = self
            .join(demand, &settings, &blocked, refusal.statuses.plan())
            .map_err(|reason| refusal.because(reason))?;
        self.counts.waited.increment();
        let began = Instant::now();
        let outcome = ticket.wait().await;
        telemetry::waited(&self.rules.of(&demand.tenant).name, began.elapsed());
        outcome
    }

    /// Puts a call into a queue, or returns the reason why it cannot wait.
    fn join(
        self: &Arc<Self>,
        demand: &Demand,
        settings: &Waiting,
        blocked: &Blocked,
        plan: &PlanRules,
    ) -> Result<Ticket, Reason> {
        timers().map_err(|NoRuntime| Reason::NoRuntime)?;
        let now = Instant::now();
        let timeout = now.checked_add(settings.longest).unwrap_or_else(|| now + Duration::from_secs(30 * 86_400));
        let latest = demand.deadline.latest().map_or(timeout, |deadline| timeout.min(deadline.into()));
        let mut lines = self.queue.lock();
        let place = lines.place(demand, plan, blocked);
        if now + lines.least(blocked, plan, &place) > latest {
            return Err(Reason::TooLate);
        }
        let mut after = After::default();
        let shed = lines.make_room(demand, settings, &mut after).ok_or(Reason::QueueFull)?;
        let waiter = Arc::new(Waiter::new(demand.clone(), timeout));
        lines.enter(&*self.accounts, &waiter, place, blocked, &mut after);
        drop(lines);
        let ticket = Ticket::new(Arc::clone(self), Arc::clone(&waiter));
        after.wake.extend(shed.into_iter().filter_map(|waiter| waiter.leave(Reason::QueueFull)));
        self.finish(after);
        Ok(ticket)
    }

    /// Serves the calls of a queue for which there is room, and the queues that its calls move to. If a decision needs
    /// a round trip, the task of the queue's first call continues.
    pub(crate) fn drain(self: &Arc<Self>, account_ref: AccountRef) {
        let mut due = AccountRefs::from_slice(&[account_ref]);
        while let Some(account_ref) = due.pop() {
            let Some(turn) = Turn::begin(self, account_ref) else { continue };
            match self.reserve_at_once(turn.demand(), Standing::Waited) {
                Some(outcome) => turn.conclude(outcome, &mut due),
                None => turn.hand_over(),
            }
        }
    }

    /// Serves a queue as [`drain`](Self::drain) does, and awaits decisions that need a round trip.
    pub(super) async fn serve(self: &Arc<Self>, account_ref: AccountRef) {
        let mut due = AccountRefs::from_slice(&[account_ref]);
        while let Some(account_ref) = due.pop() {
            let Some(turn) = Turn::begin(self, account_ref) else { continue };
            let outcome = self.reserve(turn.demand(), Standing::Waited).await;
            turn.conclude(outcome, &mut due);
        }
    }

    /// Refuses waiting calls that an operator sheds, and serves all queues.
    pub(crate) fn drain_all(self: &Arc<Self>) {
        if self.controls.refuses() {
            self.shed();
        }
        let account_refs: Vec<AccountRef> = self.queue.lock().lines.keys().copied().collect();
        account_refs.into_iter().for_each(|account_ref| self.drain(account_ref));
    }

    /// Refuses waiting calls that an operator sheds.
    fn shed(self: &Arc<Self>) {
        let (rules, mut after) = (self.rules.load(), After::default());
        let mut lines = self.queue.lock();
        let shed = |waiter: &Waiter| {
            let plan = rules.of(&waiter.demand.tenant);
            Some(self.refuse(self.controls.refuse(&waiter.demand, &plan.name)?, plan))
        };
        let gone: Vec<_> = lines.lines.values_mut().flat_map(|wait_queue| wait_queue.remove_where(shed)).collect();
        for (waiter, refusal) in gone {
            lines.leave(&waiter.demand);
            after.wake.extend(waiter.end(Err(refusal)));
        }
        drop(lines);
        self.finish(after);
    }

    /// Refuses all waiting calls for this reason.
    pub(crate) fn refuse_all(self: &Arc<Self>, reason: Reason) {
        let mut after = After::default();
        let mut lines = self.queue.lock();
        for (account_ref, wait_queue) in std::mem::take(&mut lines.lines) {
            self.accounts.set_awaited(account_ref, false);
            for waiter in wait_queue.into_waiters() {
                lines.leave(&waiter.demand);
                let refusal = self.refuse(reason, self.rules.read().of(&waiter.demand.tenant));
                after.wake.extend(waiter.end(Err(refusal)));
            }
        }
        drop(lines);
        self.finish(after);
    }

    /// Removes a call from its queue, because its caller dropped it.
    pub(super) fn abandon(self: &Arc<Self>, waiter: &Waiter) {
        let mut after = After::default();
        let mut lines = self.queue.lock();
        if let Some(place) = waiter.place() {
            let first = lines.lines.get_mut(&place.account_ref).is_some_and(|wait_queue| wait_queue.remove(&place));
            lines.leave(&waiter.demand);
            waiter.set_place(None);
            if first {
                after.drain.push(place.account_ref);
            }
        }
        drop(lines);
        self.finish(after);
    }

    /// Serves queues and wakes tasks, after the queues were unlocked.
    pub(super) fn finish(self: &Arc<Self>, after: After) {
        after.drain.into_iter().for_each(|account_ref| self.drain(account_ref));
        after.wake.into_iter().for_each(Waker::wake);
    }
}
