//! State of a waiting call.

use std::{
    fmt,
    ops::ControlFlow,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use tokio::time::Instant;

use super::place::Place;
use crate::{Demand, Reason, Refusal, Reservation};

/// Waiting call, which its task and its queue share.
pub(crate) struct Waiter {
    pub(crate) demand: Demand,
    /// Latest time at which the wait ends, even if the call's deadline is later.
    pub(crate) timeout: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Place in the queue; `None` after the call has left the queue.
    place: Option<Place>,
    waker: Option<Waker>,
    /// Time at which there may be room, if the call is the first of its queue.
    alarm: Option<Instant>,
    /// True if the call's task has been woken to decide by itself.
    is_summoned: bool,
    outcome: Option<Outcome>,
}

/// Outcome of waiting.
pub(crate) enum Outcome {
    Decided(Box<Result<Reservation, Refusal>>),
    /// Another task removed the call from its queue for this reason.
    TakenOut(Reason),
}

impl Waiter {
    pub(crate) fn new(demand: Demand, timeout: Instant) -> Self {
        Self { demand, timeout, state: Mutex::default() }
    }

    pub(crate) fn place(&self) -> Option<Place> {
        self.lock().place.clone()
    }

    pub(crate) fn set_place(&self, place: Option<Place>) {
        self.lock().place = place;
    }

    /// Sets the time at which the first call of a queue decides again. Returns the waker to be woken.
    pub(crate) fn alarm(&self, at: Option<Instant>) -> Option<Waker> {
        let mut state = self.lock();
        match state.alarm == at {
            true => None,
            false => {
                state.alarm = at;
                state.waker.take()
            }
        }
    }

    /// Ends the wait with an outcome. Returns the waker to be woken.
    pub(crate) fn end(&self, outcome: Result<Reservation, Refusal>) -> Option<Waker> {
        let mut state = self.lock();
        state.place = None;
        state.outcome = Some(Outcome::Decided(Box::new(outcome)));
        state.waker.take()
    }

    /// Ends the wait of a call that was removed from its queue for this reason. It is refused, unless a last decision
    /// finds room. Returns the waker to be woken.
    pub(crate) fn leave(&self, reason: Reason) -> Option<Waker> {
        let mut state = self.lock();
        state.outcome = Some(Outcome::TakenOut(reason));
        state.waker.take()
    }

    /// Requests that the call's task decides. Returns the waker to be woken.
    pub(crate) fn summon(&self) -> Option<Waker> {
        let mut state = self.lock();
        state.is_summoned = true;
        state.waker.take()
    }

    /// Returns `true` if the longest wait is over or the call's deadline has passed.
    pub(crate) fn is_late(&self) -> bool {
        let now = Instant::now();
        now >= self.timeout || self.demand.deadline.latest().is_some_and(|deadline| now >= deadline.into())
    }

    /// Breaks with the outcome, or with `None` if the task must decide. Otherwise registers the waker, and returns the
    /// time of the alarm.
    pub(crate) fn listen(&self, waker: &Waker) -> ControlFlow<Option<Outcome>, Option<Instant>> {
        let mut state = self.lock();
        if let Some(outcome) = state.outcome.take() {
            return ControlFlow::Break(Some(outcome));
        }
        if std::mem::take(&mut state.is_summoned) {
            return ControlFlow::Break(None);
        }
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        ControlFlow::Continue(state.alarm)
    }

    pub(crate) fn clear_alarm(&self) {
        self.lock().alarm = None;
    }

    pub(crate) fn take_outcome(&self) -> Option<Outcome> {
        self.lock().outcome.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").field("demand", &self.demand).finish_non_exhaustive()
    }
}
