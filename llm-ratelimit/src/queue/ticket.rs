//! One call that waits.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::wait_queue::Place;
use crate::{Demand, Reason, Refusal, Reservation, accounts::Standing, inner::Inner};

pub(super) struct Waiter {
    pub(super) demand: Demand,
    deadline: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` once it is out of line.
    place: Option<Place>,
    waker: Option<Waker>,
    /// Time at which there may be room, if it is the first of its queue.
    alarm: Option<Instant>,
    /// It is to look now.
    is_summoned: bool,
    outcome: Option<Outcome>,
}

enum Outcome {
    Decided(Box<Result<Reservation, Refusal>>),
    /// It was taken out for this reason.
    TakenOut(Reason),
}

/// The place of one that waits. Dropped, it leaves its line.
pub(super) struct Ticket {
    inner: Arc<Inner>,
    waiter: Arc<Waiter>,
}

impl Waiter {
    pub(super) fn new(demand: Demand, deadline: Instant) -> Self {
        Self { demand, deadline, state: Mutex::default() }
    }

    pub(super) fn place(&self) -> Option<Place> {
        self.lock().place.clone()
    }

    pub(super) fn set_place(&self, place: Option<Place>) {
        self.lock().place = place;
    }

    /// It is the first in its line: it looks again at this time. Gives who must be woken to know that.
    pub(super) fn alarm(&self, at: Option<Instant>) -> Option<Waker> {
        let mut state = self.lock();
        match state.alarm == at {
            true => None,
            false => {
                state.alarm = at;
                state.waker.take()
            }
        }
    }

    /// It is out of line. Gives who must be woken.
    pub(super) fn end(&self, outcome: Result<Reservation, Refusal>) -> Option<Waker> {
        let mut state = self.lock();
        state.place = None;
        state.outcome = Some(Outcome::Decided(Box::new(outcome)));
        state.waker.take()
    }

    /// It is out of its queue and gets this reason, unless there is room at last. Returns the waker to be woken.
    pub(super) fn leave(&self, reason: Reason) -> Option<Waker> {
        let mut state = self.lock();
        state.outcome = Some(Outcome::TakenOut(reason));
        state.waker.take()
    }

    /// Has its task look whether there is room. Returns the waker to be woken.
    pub(super) fn summon(&self) -> Option<Waker> {
        let mut state = self.lock();
        state.is_summoned = true;
        state.waker.take()
    }

    async fn last_try(&self, inner: &Arc<Inner>, why: Reason) -> Result<Reservation, Refusal> {
        inner.reserve(&self.demand, Standing::New).await.map_err(|refusal| match refusal.reason() {
            Reason::UsedUp => refusal.because(why),
            _ => refusal,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    pub(super) fn new(inner: Arc<Inner>, waiter: Arc<Waiter>) -> Self {
        Self { inner, waiter }
    }

    /// Waits for the outcome, until the deadline at most.
    ///
    /// It also looks by itself after 1 s, 2 s, 4 s, …: nothing else bounds how long the first in a line may hold its
    /// future without polling it.
    pub(super) async fn wait(self, inner: &Arc<Inner>) -> Result<Reservation, Refusal> {
        let mut timeout = Duration::from_secs(1);
        loop {
            let look = Instant::now() + timeout;
            match self.sleep(look).await {
                Some(Outcome::Decided(outcome)) => return *outcome,
                Some(Outcome::TakenOut(reason)) => return self.waiter.last_try(inner, reason).await,
                None => {}
            }
            if Instant::now() >= self.waiter.deadline {
                return self.give_up(inner).await;
            }
            if Instant::now() >= look {
                timeout = (timeout * 2).min(Duration::from_secs(60));
            }
            // An alarm that has rung is over; serving the line sets it again for whoever is first then.
            self.waiter.lock().alarm = None;
            if let Some(place) = self.waiter.place() {
                inner.queue.serve(inner, place.account_ref).await;
            }
        }
    }

    /// Sleeps until there is an outcome, or it is time to look.
    async fn sleep(&self, look: Instant) -> Option<Outcome> {
        let wake_at = |alarm: Option<Instant>| alarm.unwrap_or(look).min(look).min(self.waiter.deadline);
        let mut sleep = pin!(sleep_until(look.min(self.waiter.deadline)));
        poll_fn(|cx| {
            let at = {
                let mut state = self.waiter.lock();
                if let Some(outcome) = state.outcome.take() {
                    return Poll::Ready(Some(outcome));
                }
                if std::mem::take(&mut state.is_summoned) {
                    return Poll::Ready(None);
                }
                if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    state.waker = Some(cx.waker().clone());
                }
                wake_at(state.alarm)
            };
            if at != sleep.deadline() {
                sleep.as_mut().reset(at);
            }
            sleep.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// It is too late, unless it was served at the last moment.
    async fn give_up(self, inner: &Arc<Inner>) -> Result<Reservation, Refusal> {
        inner.queue.abandon(inner, &self.waiter);
        let outcome = self.waiter.lock().outcome.take();
        match outcome {
            Some(Outcome::Decided(outcome)) => *outcome,
            Some(Outcome::TakenOut(reason)) => self.waiter.last_try(inner, reason).await,
            None => self.waiter.last_try(inner, Reason::TooLate).await,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.inner.queue.abandon(&self.inner, &self.waiter);
        // Outside of all locks: what was granted meanwhile goes back.
        let granted = self.waiter.lock().outcome.take();
        drop(granted);
    }
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter").field("demand", &self.demand).finish_non_exhaustive()
    }
}
