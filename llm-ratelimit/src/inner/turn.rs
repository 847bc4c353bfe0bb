//! Turns: decisions about waiting calls, of which only one is made at a time in each queue.

use std::sync::Arc;

use super::Inner;
use crate::{
    Demand, Refusal, Reservation,
    account_ref::AccountRef,
    counter::Wait,
    queue::{AccountRefs, After, Place, Waiter, alarm},
};

/// Turn of the first call in a queue, in which a decision about the call is made. The decision is made outside of the
/// queues' lock, so calls (this one too) may join and leave meanwhile. A queue has one turn at a time. If a turn is
/// dropped without a conclusion, the next turn belongs to the call that is then the first.
pub(super) struct Turn<'a> {
    inner: &'a Arc<Inner>,
    account_ref: AccountRef,
    place: Place,
    waiter: Arc<Waiter>,
    is_over: bool,
}

impl<'a> Turn<'a> {
    /// Begins the turn of the first call in a queue. Returns `None` if the queue is empty, or if another turn runs,
    /// which then decides once more.
    pub(super) fn begin(inner: &'a Arc<Inner>, account_ref: AccountRef) -> Option<Self> {
        let mut queues = inner.queue.lock();
        let queue = queues.lines.get_mut(&account_ref)?;
        let Some((place, waiter)) = queue.first() else {
            queues.lines.remove(&account_ref);
            inner.accounts.set_awaited(account_ref, false);
            return None;
        };
        queue.begin_turn().then(|| Self { inner, account_ref, place, waiter, is_over: false })
    }

    pub(super) fn demand(&self) -> &Demand {
        &self.waiter.demand
    }

    /// Gives the call its outcome, or moves it to the queue in which it must wait. Adds to `due` the queues that must
    /// be served next. This queue is one of them, unless its first call still has no room and no amount was returned
    /// during the decision.
    pub(super) fn conclude(mut self, outcome: Result<Reservation, Refusal>, due: &mut AccountRefs) {
        self.is_over = true;
        let mut after = After::default();
        // The outcome is dropped outside of the lock, because dropping a reservation returns its room.
        let _unneeded = self.apply(outcome, &mut after);
        due.append(&mut after.drain);
        self.inner.finish(after);
    }

    fn apply(&self, outcome: Result<Reservation, Refusal>, after: &mut After) -> Option<Result<Reservation, Refusal>> {
        let Self { inner, account_ref, place, waiter, .. } = self;
        let mut queues = inner.queue.lock();
        let Some(queue) = queues.lines.get_mut(account_ref) else { return Some(outcome) };
        let looks_again = queue.end_turn();
        if waiter.place().as_ref() != Some(place) {
            after.drain.push(*account_ref);
            return Some(outcome);
        }
        let blocked = outcome.as_ref().err().and_then(|refusal| refusal.blocked).filter(|to| to.wait != Wait::Ever);
        match blocked.and_then(|blocked| Some((blocked.account_ref?, blocked))) {
            Some((at, blocked)) if at == *account_ref => {
                after.wake.extend(waiter.alarm(alarm(blocked.wait, &*inner.accounts)));
                after.drain.extend(looks_again.then_some(at));
                return Some(outcome);
            }
            Some((_, blocked)) => {
                // This account had room for the call, but another account of the call has none, so the call moves to
                // the queue of that account.
                queue.remove(place);
                queues.leave(&waiter.demand);
                let plan = inner.rules.of(&waiter.demand.tenant);
                let place = queues.place(&waiter.demand, &plan, &blocked);
                queues.enter(&*inner.accounts, waiter, place, &blocked, after);
                after.drain.push(*account_ref);
                return Some(outcome);
            }
            None => {}
        }
        queue.serve(place);
        queues.leave(&waiter.demand);
        after.wake.extend(waiter.end(outcome));
        after.drain.push(*account_ref);
        None
    }

    /// Leaves the decision to the call's own task, which can wait for a round trip.
    pub(super) fn hand_over(self) {
        drop(self);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut after = After::default();
        let mut queues = self.inner.queue.lock();
        if let Some(queue) = queues.lines.get_mut(&self.account_ref) {
            queue.end_turn();
            after.wake.extend(queue.first().and_then(|(_, waiter)| waiter.summon()));
        }
        drop(queues);
        self.inner.finish(after);
    }
}
