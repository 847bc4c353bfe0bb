//! Waiting of calls for a member. Calls that must not be sent to every member of their model wait in a separate queue,
//! so that they delay no other calls.

use std::ops::ControlFlow::{self, Break, Continue};

use llm_core::{Error, ErrorKind};

use super::{
    State,
    choice::{Attempt, Want},
};
use crate::time::{Return, Time};

impl Want<'_> {
    /// Returns the queue of the call. Each model has two: one for ordinary calls, and one for calls that some members
    /// of the model may not serve.
    fn queue(&self) -> u32 {
        let is_apart = self.request.pinned.is_some() || self.request.no_fallback || !self.exclude.is_empty();
        2 * self.model + u32::from(is_apart)
    }
}

impl State {
    /// Sets the model of a call that begins to search for a member, its arrival time, and the time from which it also
    /// tries later tiers.
    pub(crate) fn begin(&mut self, want: &mut Want<'_>, now: Time) {
        want.model = self.model_id(&want.request.model, now);
        (want.arrived, want.overflows) = (now, now.saturating_add(self.settings.overflow_after));
    }

    /// Returns an attempt or an error for a call. If neither is decided, returns the time at which this function must
    /// be called again, unless the call is woken before.
    pub(crate) fn advance(&mut self, want: &mut Want<'_>, now: Time) -> ControlFlow<Result<Attempt, Error>, Time> {
        let (is_next, first_return) = self.queues.is_next(want.queue(), want.ticket.as_ref(), want.request.priority);
        let is_late = now >= want.overflows;
        want.prefers = false;
        let turn = match is_next {
            true => self.choose(want, 0, now),
            false if is_late && self.tiers(want.model) > 1 => self.choose(want, 1, now),
            false => Err(first_return),
        };
        if is_late {
            want.overflows = now.saturating_add(self.settings.overflow_after.max(1));
        }
        let first = match turn {
            Ok(attempt) => {
                self.queues.count_served(want.queue(), want.ticket.as_ref(), want.request.priority);
                self.leave_queue(want);
                return Break(Ok(attempt));
            }
            Err(Return::NEVER) if is_next => return Break(Err(self.unavailable(want))),
            Err(first) if want.prefers => return Continue(first.latest),
            Err(first) if is_next => first,
            Err(_) => first_return,
        };
        // A waiting call that is not the next one waits until it gives up, because `first_return` applies to the first
        // call only.
        let is_known = is_next || want.ticket.is_none();
        if now >= want.gives_up || (is_known && first.soonest > want.gives_up) {
            return Break(Err(self.limited(want.model, first, now)));
        }
        if want.ticket.is_none() {
            let waiting = self.queues.waiting();
            if waiting >= self.settings.max_waiting {
                let message = format!("{waiting} calls wait for a member of the pool, and no more may");
                return Break(Err(Error::new(ErrorKind::Overloaded, message)));
            }
            want.ticket = Some(self.queues.enter(want.queue(), want.request.priority));
        }
        if is_next {
            self.queues.set_first_return(want.queue(), first);
        }
        Continue(if is_next { first.latest } else { Time::MAX }.min(want.gives_up).min(want.overflows))
    }

    /// Removes a call from its queue, if it is waiting.
    pub(crate) fn leave_queue(&mut self, want: &mut Want<'_>) {
        if let Some(ticket) = want.ticket.take() {
            self.queues.leave(ticket);
        }
    }
}
