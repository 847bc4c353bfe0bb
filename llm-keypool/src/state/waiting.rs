//! Queues of calls that wait for a member: one for each model and priority, in order of arrival.

use std::{collections::VecDeque, sync::Arc};

use llm_core::Priority;
use tokio::sync::Notify;

use super::State;
use crate::time::Time;

/// Queues of all models.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    models: Vec<ModelQueues>,
    /// Models with a queue that is not empty.
    busy: Vec<u32>,
    waiting: usize,
    last: u64,
    /// Wakes the first call of each model.
    wakes_heads: bool,
    wakes: Vec<Arc<Notify>>,
}

#[derive(Debug, Default)]
struct ModelQueues {
    /// By [`rank`], in the order of their ids.
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
    pub(crate) model: u32,
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
        self.models.push(ModelQueues::default());
    }

    /// Has the first call of each model woken.
    pub(super) fn wake_heads(&mut self) {
        self.wakes_heads = true;
    }

    fn wake_head(&mut self, model: u32) {
        if let Some(first) = self.models[model as usize].queues.iter().find_map(VecDeque::front) {
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

    /// Returns the first return that the first call of a model waits for; `None` if no call of this priority or a higher one
    /// waits, so that another may try at once.
    pub(crate) fn queued(&self, model: u32, priority: Priority) -> Option<Time> {
        let of_model = &self.queues.models[model as usize];
        let waits = of_model.queues[..=rank(priority)].iter().any(|queue| !queue.is_empty());
        waits.then_some(of_model.first_return)
    }

    /// Puts a call at the end of its queue; `None` if too many wait.
    pub(crate) fn enqueue(&mut self, model: u32, priority: Priority) -> Option<Ticket> {
        if self.queues.waiting >= self.settings.max_waiting {
            return None;
        }
        let queues = &mut self.queues;
        let rank = rank(priority);
        let of_model = &mut queues.models[model as usize];
        if of_model.queues.iter().all(VecDeque::is_empty) {
            queues.busy.push(model);
        }
        queues.last += 1;
        queues.waiting += 1;
        let notify = Arc::new(Notify::new());
        of_model.queues[rank].push_back(Waiter { id: queues.last, notify: Arc::clone(&notify) });
        Some(Ticket { model, rank, id: queues.last, notify })
    }

    /// Returns `true` if a call is the next of its model.
    pub(crate) fn is_next(&self, ticket: &Ticket) -> bool {
        let first = self.queues.models[ticket.model as usize].queues.iter().find_map(VecDeque::front);
        first.is_some_and(|first| first.id == ticket.id)
    }

    /// Takes the first return that the first call found.
    pub(crate) fn set_first_return(&mut self, model: u32, at: Time) {
        self.queues.models[model as usize].first_return = at;
    }

    /// Takes a call out of its queue, and wakes the one after it if it was the first.
    pub(crate) fn leave_queue(&mut self, ticket: &Ticket) {
        let was_next = self.is_next(ticket);
        let queues = &mut self.queues;
        let of_model = &mut queues.models[ticket.model as usize];
        let queue = &mut of_model.queues[ticket.rank];
        if let Ok(at) = queue.binary_search_by_key(&ticket.id, |waiter| waiter.id) {
            queue.remove(at);
            queues.waiting -= 1;
            if of_model.queues.iter().all(VecDeque::is_empty) {
                of_model.first_return = 0;
                queues.busy.retain(|busy| *busy != ticket.model);
            } else if was_next {
                queues.wake_head(ticket.model);
            }
        }
    }
}
