//! Queues of calls that wait for a member: one for each model and priority, in order of arrival. Calls that may not be sent
//! to every member of their model wait in a line of their own, so that they delay no other.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    ops::ControlFlow::{self, Break, Continue},
    sync::Arc,
};

use llm_core::{Error, Priority};
use tokio::sync::Notify;

use super::{
    State,
    choice::{Attempt, RELEASE, Turn, Want},
};
use crate::{error, time::Time};

/// Lines in which calls wait.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    lines: BTreeMap<u32, Line>,
    waiting: usize,
    last: u64,
    /// Wakes the first call of each line.
    wakes_heads: bool,
    wakes: Vec<Arc<Notify>>,
}

/// Calls that wait; there is at least one.
#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<Key, Arc<Notify>>,
    /// Interactive calls that were served while background ones waited.
    streak: u32,
    /// First return that the first call knows.
    first_return: Time,
}

/// Order of waiting calls: interactive ones first, in order of arrival.
type Key = (Reverse<Priority>, u64);

/// Place of a call in a line.
#[derive(Debug)]
pub(crate) struct Ticket {
    line: u32,
    key: Key,
    pub(crate) notify: Arc<Notify>,
}

const BACKGROUND: Reverse<Priority> = Reverse(Priority::Background);
/// Number of turns of which one is a background call's.
const TURNS: u32 = 16;

impl Want<'_> {
    /// Returns its line: of its model, or that beside it for calls that not every member may serve.
    fn line(&self) -> u32 {
        let is_apart = self.request.pinned.is_some() || self.request.no_fallback || !self.exclude.is_empty();
        2 * self.model + u32::from(is_apart)
    }
}

impl Line {
    /// Returns `true` if it is the turn of a background call.
    fn is_due(&self) -> bool {
        self.streak + 1 >= TURNS && self.waits_in_background()
    }

    fn waits_in_background(&self) -> bool {
        self.waiting.last_key_value().is_some_and(|((priority, _), _)| *priority == BACKGROUND)
    }

    /// Returns the call that is served next.
    fn head(&self) -> Option<(&Key, &Arc<Notify>)> {
        match self.is_due() {
            true => self.waiting.range((BACKGROUND, 0)..).next(),
            false => self.waiting.first_key_value(),
        }
    }

    /// Returns `true` if a call, which waits or arrives, is served before all others.
    fn is_next(&self, key: Key) -> bool {
        self.head().is_none_or(|(head, _)| *head == key || (!self.is_due() && key < *head))
    }
}

impl Queues {
    /// Wakes the first call of each line.
    pub(super) fn wake_heads(&mut self) {
        self.wakes_heads = true;
    }

    fn wake_head(&mut self, line: u32) {
        let head = self.lines.get(&line).and_then(Line::head);
        self.wakes.extend(head.map(|(_, notify)| Arc::clone(notify)));
    }

    pub(super) fn take_wakes(&mut self) -> Vec<Arc<Notify>> {
        if std::mem::take(&mut self.wakes_heads) {
            self.wakes.extend(self.lines.values().filter_map(Line::head).map(|(_, notify)| Arc::clone(notify)));
        }
        std::mem::take(&mut self.wakes)
    }
}

impl State {
    /// Returns the number of waiting calls.
    pub(crate) fn waiting(&self) -> usize {
        self.queues.waiting
    }

    /// Begins the wait of a call, which may be over at once.
    pub(crate) fn begin(&mut self, want: &mut Want<'_>, now: Time) {
        want.model = self.model_id(&want.request.model, now);
        (want.arrived, want.overflows) = (now, now.saturating_add(self.settings.overflow_after));
    }

    /// Returns an attempt for a call, or why it gets none, or else the time at which it is to ask again, if it is not woken
    /// before.
    pub(crate) fn advance(&mut self, want: &mut Want<'_>, now: Time) -> ControlFlow<Result<Attempt, Error>, Time> {
        let line = self.queues.lines.get(&want.line());
        let key = want.ticket.as_ref().map_or((Reverse(want.request.priority), u64::MAX), |ticket| ticket.key);
        let is_next = line.is_none_or(|line| line.is_next(key));
        let first_return = line.map_or(0, |line| line.first_return);
        let is_late = now >= want.overflows;
        let turn = match is_next {
            true => self.choose(want, 0, now),
            false if is_late && self.tiers(want.model) > 1 => self.choose(want, 1, now),
            false => Turn::Wait(first_return),
        };
        if is_late {
            want.overflows = now.saturating_add(self.settings.overflow_after.max(1));
        }
        let at = match turn {
            Turn::Go(attempt) => {
                self.serve(want);
                return Break(Ok(attempt));
            }
            Turn::Never if is_next => return Break(Err(error::unavailable(self, want))),
            Turn::Prefer(at) => return Continue(at),
            Turn::Wait(at) if is_next => at,
            Turn::Wait(_) | Turn::Never => first_return,
        };
        // One that is not the next waits to its end, whatever the first return is.
        let is_known = (is_next || want.ticket.is_none()) && at != RELEASE;
        if now >= want.gives_up || (is_known && at > want.gives_up) {
            return Break(Err(error::limited(self, want.model, at, now)));
        }
        if want.ticket.is_none() && !self.enqueue(want) {
            return Break(Err(error::crowded(self.waiting())));
        }
        if is_next && let Some(line) = self.queues.lines.get_mut(&want.line()) {
            line.first_return = at;
        }
        Continue(if is_next { at } else { Time::MAX }.min(want.gives_up).min(want.overflows))
    }

    /// Puts a call at the end of its queue. Returns `false` if too many wait.
    fn enqueue(&mut self, want: &mut Want<'_>) -> bool {
        let queues = &mut self.queues;
        if queues.waiting >= self.settings.max_waiting {
            return false;
        }
        (queues.last, queues.waiting) = (queues.last + 1, queues.waiting + 1);
        let (line, key, notify) = (want.line(), (Reverse(want.request.priority), queues.last), Arc::new(Notify::new()));
        queues.lines.entry(line).or_default().waiting.insert(key, Arc::clone(&notify));
        want.ticket = Some(Ticket { line, key, notify });
        true
    }

    /// Takes a call out that is served, and counts its turn.
    fn serve(&mut self, want: &mut Want<'_>) {
        if let Some(line) = self.queues.lines.get_mut(&want.line()) {
            let is_passed = want.request.priority != Priority::Background && line.waits_in_background();
            line.streak = if is_passed { line.streak + 1 } else { 0 };
            self.queues.wake_head(want.line());
        }
        self.leave_queue(want);
    }

    /// Takes a call out of its line, and wakes the first one.
    pub(crate) fn leave_queue(&mut self, want: &mut Want<'_>) {
        let Some(Ticket { line, key, .. }) = want.ticket.take() else { return };
        if let Some(of_line) = self.queues.lines.get_mut(&line) {
            self.queues.waiting -= usize::from(of_line.waiting.remove(&key).is_some());
            if of_line.waiting.is_empty() {
                self.queues.lines.remove(&line);
            }
        }
        self.queues.wake_head(line);
    }
}
