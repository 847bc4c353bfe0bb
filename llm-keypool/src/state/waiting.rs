//! Queues of calls that wait for a member: one for each model and priority, in order of arrival. Calls that may not be sent
//! to every member of their model wait in a line of their own, so that they delay no other.

use std::{collections::VecDeque, sync::Arc};

use llm_core::Priority;
use tokio::sync::Notify;

use super::{State, choice::Want};
use crate::time::Time;

/// Queues of all lines: two for each model.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    lines: Vec<Line>,
    /// Lines with a queue that is not empty.
    busy: Vec<u32>,
    waiting: usize,
    last: u64,
    /// Wakes the first call of each line.
    wakes_heads: bool,
    wakes: Vec<Arc<Notify>>,
}

#[derive(Debug, Default)]
struct Line {
    /// Waiters by [`rank`], in the order of their ids.
    queues: [VecDeque<Waiter>; 2],
    /// First return that the first call knows.
    first_return: Time,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    notify: Arc<Notify>,
}

/// Place of a call in a queue.
#[derive(Debug)]
pub(crate) struct Ticket {
    line: u32,
    rank: usize,
    id: u64,
    pub(crate) notify: Arc<Notify>,
}

/// Interactive calls come first.
fn rank(priority: Priority) -> usize {
    usize::from(priority == Priority::Background)
}

impl Queues {
    pub(super) fn add_model(&mut self) {
        self.lines.extend([Line::default(), Line::default()]);
    }

    /// Wakes the first call of each queue.
    pub(super) fn wake_heads(&mut self) {
        self.wakes_heads = true;
    }

    fn wake_head(&mut self, line: u32) {
        if let Some(first) = self.lines[line as usize].queues.iter().find_map(VecDeque::front) {
            self.wakes.push(Arc::clone(&first.notify));
        }
    }

    pub(super) fn take_wakes(&mut self) -> Vec<Arc<Notify>> {
        if std::mem::take(&mut self.wakes_heads) {
            for at in 0..self.busy.len() {
                self.wake_head(self.busy[at]);
            }
        }
        std::mem::take(&mut self.wakes)
    }
}

impl State {
    /// Returns the number of waiting calls.
    pub(crate) fn waiting(&self) -> usize {
        self.queues.waiting
    }

    /// Returns the first return that the first call of a call's line waits for; `None` if none of its priority or a higher
    /// one waits, so that it may try at once.
    pub(crate) fn queued(&self, want: &Want) -> Option<Time> {
        let line = &self.queues.lines[want.line() as usize];
        let waits = line.queues[..=rank(want.priority)].iter().any(|queue| !queue.is_empty());
        waits.then_some(line.first_return)
    }

    /// Puts a call at the end of its queue; `None` if too many wait.
    pub(crate) fn enqueue(&mut self, want: &Want) -> Option<Ticket> {
        if self.queues.waiting >= self.settings.max_waiting {
            return None;
        }
        let queues = &mut self.queues;
        let (line, rank) = (want.line(), rank(want.priority));
        let of_line = &mut queues.lines[line as usize];
        if of_line.queues.iter().all(VecDeque::is_empty) {
            queues.busy.push(line);
        }
        queues.last += 1;
        queues.waiting += 1;
        let notify = Arc::new(Notify::new());
        of_line.queues[rank].push_back(Waiter { id: queues.last, notify: Arc::clone(&notify) });
        Some(Ticket { line, rank, id: queues.last, notify })
    }

    /// Returns `true` if a call is the next of its line.
    pub(crate) fn is_next(&self, ticket: &Ticket) -> bool {
        let first = self.queues.lines[ticket.line as usize].queues.iter().find_map(VecDeque::front);
        first.is_some_and(|first| first.id == ticket.id)
    }

    /// Takes the first return that the first call found.
    pub(crate) fn set_first_return(&mut self, ticket: &Ticket, at: Time) {
        self.queues.lines[ticket.line as usize].first_return = at;
    }

    /// Takes a call out of its queue, and wakes the one after it if it was the first.
    pub(crate) fn leave_queue(&mut self, ticket: &Ticket) {
        let was_next = self.is_next(ticket);
        let queues = &mut self.queues;
        let of_line = &mut queues.lines[ticket.line as usize];
        let queue = &mut of_line.queues[ticket.rank];
        if let Ok(at) = queue.binary_search_by_key(&ticket.id, |waiter| waiter.id) {
            queue.remove(at);
            queues.waiting -= 1;
            if of_line.queues.iter().all(VecDeque::is_empty) {
                of_line.first_return = 0;
                queues.busy.retain(|busy| *busy != ticket.line);
            } else if was_next {
                queues.wake_head(ticket.line);
            }
        }
    }
}
