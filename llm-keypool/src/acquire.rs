//! Waiting for a member.

use std::sync::Arc;

use llm_core::{Error, layer::CallDeadline};
use tokio::time::timeout_at;

use crate::{
    error,
    pool::{Inner, Shared},
    running::Running,
    state::{
        choice::{RELEASE, Turn, Want},
        waiting::Ticket,
    },
    time::{Time, nanos},
};

/// Answer to a call that wants a member.
enum Step<S> {
    Go(Running<S>, Arc<S>),
    Queued(Ticket, Time),
    Wait(Time),
    Prefer(Time),
    Refused(Error),
}

/// Place in a queue, which is left when it is dropped.
struct Queued<'a, S> {
    inner: &'a Inner<S>,
    ticket: Ticket,
}

impl<S> Inner<S> {
    /// Waits for a member, at most until the deadline and at most `max_wait`.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        want: &mut Want,
        deadline: &CallDeadline,
    ) -> Result<(Running<S>, Arc<S>), Error> {
        let step = self.with(|shared, now| {
            want.arrived = now;
            shared.state.resolve(want, now);
            self.admit(shared, want, deadline, now)
        });
        match step {
            Step::Go(running, service) => Ok((running, service)),
            Step::Refused(error) => Err(error),
            // In a box, so that calls that do not wait do not carry its size.
            step => Box::pin(self.wait(step, want, deadline)).await,
        }
    }

    /// Chooses a member at once, or a place in the queue.
    fn admit(self: &Arc<Self>, shared: &mut Shared<S>, want: &Want, deadline: &CallDeadline, now: Time) -> Step<S> {
        let turn = match shared.state.queued(want) {
            Some(first) => Turn::Wait(first),
            None => shared.state.choose(want, 0, now),
        };
        match self.answer(shared, turn, want, deadline, now) {
            Step::Wait(at) => match shared.state.enqueue(want) {
                Some(ticket) => {
                    if shared.state.is_next(&ticket) {
                        shared.state.set_first_return(&ticket, at);
                    }
                    Step::Queued(ticket, at)
                }
                None => Step::Refused(error::crowded(shared.state.waiting())),
            },
            step => step,
        }
    }

    fn answer(
        self: &Arc<Self>,
        shared: &mut Shared<S>,
        turn: Turn,
        want: &Want,
        deadline: &CallDeadline,
        now: Time,
    ) -> Step<S> {
        let gives_up = self.gives_up(want, deadline);
        match turn {
            Turn::Go(attempt) => {
                let service = shared.service(&attempt);
                Step::Go(Running::new(Arc::clone(self), attempt, deadline.clone()), service)
            }
            Turn::Never => Step::Refused(error::unavailable(&shared.state, want.model, want.pinned.as_ref())),
            Turn::Prefer(at) => Step::Prefer(at),
            Turn::Wait(at) if now >= gives_up || (at > gives_up && at != RELEASE) => {
                Step::Refused(error::limited_until(&shared.state, want.model, at, now))
            }
            Turn::Wait(at) => Step::Wait(at),
        }
    }

    async fn wait(
        self: &Arc<Self>,
        mut step: Step<S>,
        want: &mut Want,
        deadline: &CallDeadline,
    ) -> Result<(Running<S>, Arc<S>), Error> {
        if let Step::Prefer(at) = step {
            self.sleep_until(at.min(self.gives_up(want, deadline))).await;
            step = self.with(|shared, now| self.admit(shared, want, deadline, now));
            if let Step::Prefer(_) = step {
                want.affinity = 0;
                step = self.with(|shared, now| self.admit(shared, want, deadline, now));
            }
        }
        let (queued, mut at) = match step {
            Step::Queued(ticket, at) => (Queued { inner: self, ticket }, at),
            Step::Go(running, service) => return Ok((running, service)),
            Step::Refused(error) => return Err(error),
            Step::Wait(_) | Step::Prefer(_) => unreachable!("such a call is queued or has no affinity"),
        };
        let period = nanos(self.settings.overflow_after).max(1);
        let mut overflows = want.arrived.saturating_add(period);
        loop {
            let until = at.min(self.gives_up(want, deadline)).min(overflows);
            if let Some(until) = self.instant(until) {
                // Woken or not: the state says if it is this call's turn.
                let _ = timeout_at(until, queued.ticket.notify.notified()).await;
            } else {
                queued.ticket.notify.notified().await;
            }
            let is_late = self.now() >= overflows;
            if is_late {
                overflows = overflows.saturating_add(period);
            }
            match self.with(|shared, now| self.retry(shared, &queued.ticket, want, is_late, deadline, now)) {
                Step::Go(running, service) => return Ok((running, service)),
                Step::Refused(error) => return Err(error),
                Step::Wait(next) | Step::Prefer(next) | Step::Queued(_, next) => at = next,
            }
        }
    }

    /// Chooses a member for a waiting call: of all tiers if it is the next one, of later tiers if it waits for long.
    fn retry(
        self: &Arc<Self>,
        shared: &mut Shared<S>,
        ticket: &Ticket,
        want: &Want,
        is_late: bool,
        deadline: &CallDeadline,
        now: Time,
    ) -> Step<S> {
        let gives_up = self.gives_up(want, deadline);
        let is_next = shared.state.is_next(ticket);
        let turn = match is_next {
            true => shared.state.choose(want, 0, now),
            false if is_late && shared.state.tiers(want.model) > 1 => match shared.state.choose(want, 1, now) {
                Turn::Never => Turn::Wait(gives_up),
                turn => turn,
            },
            false => Turn::Wait(gives_up),
        };
        if let (true, Turn::Wait(at)) = (is_next, &turn) {
            shared.state.set_first_return(ticket, *at);
        }
        // One that is not the next waits to its end, whatever the first return is.
        let turn = match turn {
            Turn::Wait(at) if !is_next => Turn::Wait(at.min(gives_up)),
            turn => turn,
        };
        let step = self.answer(shared, turn, want, deadline, now);
        if matches!(step, Step::Go(..)) {
            shared.state.leave_queue(ticket);
        }
        step
    }

    /// Returns the time at which a wait ends.
    fn gives_up(&self, want: &Want, deadline: &CallDeadline) -> Time {
        let latest = deadline.latest().map_or(Time::MAX, |deadline| self.time_of(deadline));
        want.arrived.saturating_add(nanos(self.settings.max_wait)).min(latest)
    }

    async fn sleep_until(&self, time: Time) {
        if let Some(instant) = self.instant(time) {
            tokio::time::sleep_until(instant).await;
        }
    }
}

impl<S> Drop for Queued<'_, S> {
    fn drop(&mut self) {
        self.inner.with(|shared, _| shared.state.leave_queue(&self.ticket));
    }
}
