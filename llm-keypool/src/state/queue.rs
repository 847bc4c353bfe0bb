//! Queues of waiting calls, at most two for each model. Interactive calls are served first, in order of arrival.
//!
//! Each call gets an order number when it enters a queue. The numbers of interactive calls are consecutive, and those
//! of background calls are sixteen apart. So at most sixteen interactive calls are served between two background calls,
//! and interactive calls cannot delay background calls forever. Only the first call of a queue is woken. When it leaves
//! the queue, it wakes the next call.

use std::{collections::BTreeMap, sync::Arc};

use llm_core::Priority;
use tokio::sync::Notify;

use crate::time::Return;

/// Queues of waiting calls, by the number of the queue.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    queues: BTreeMap<u32, Queue>,
    waiting: usize,
    last: u64,
    /// True if the first call of each queue must be woken.
    wakes_heads: bool,
    wakes: Vec<Arc<Notify>>,
}

/// Queue of at least one waiting call.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<Key, Arc<Notify>>,
    /// Order number of the call that was served last.
    served: u64,
    /// Latest order numbers that were given to interactive and to background calls.
    given: [u64; 2],
    /// Earliest time at which a member takes calls again, as computed for the first call of the queue.
    first_return: Return,
}

/// Order number of a waiting call, and its arrival number, which decides between calls with equal order numbers.
type Key = (u64, u64);

/// Place of a call in a queue.
#[derive(Debug)]
pub(crate) struct Ticket {
    queue: u32,
    key: Key,
    pub(crate) notify: Arc<Notify>,
}

/// Difference between the order numbers of consecutive background calls.
const BACKGROUND_STEP: u64 = 16;

impl Queue {
    /// Returns the order number for a call that arrives now, and the index of its priority in `given`.
    fn next_order(&self, priority: Priority) -> (u64, usize) {
        let (class, step) = if priority == Priority::Background { (1, BACKGROUND_STEP) } else { (0, 1) };
        (self.served.max(self.given[class]) + step, class)
    }
}

impl Queues {
    /// Returns the number of waiting calls.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns `true` if a waiting or new call is the next one in its queue, and the queue's `first_return`.
    pub(super) fn is_next(&self, queue: u32, ticket: Option<&Ticket>, priority: Priority) -> (bool, Return) {
        let Some(queue) = self.queues.get(&queue) else { return (true, Return::NOW) };
        let key = ticket.map_or_else(|| (queue.next_order(priority).0, u64::MAX), |ticket| ticket.key);
        (queue.waiting.first_key_value().is_none_or(|(first, _)| key <= *first), queue.first_return)
    }

    /// Sets the `first_return` of a queue, if the queue holds a call.
    pub(super) fn set_first_return(&mut self, queue: u32, first: Return) {
        if let Some(queue) = self.queues.get_mut(&queue) {
            queue.first_return = first;
        }
    }

    /// Puts a call into a queue.
    pub(super) fn enter(&mut self, queue: u32, priority: Priority) -> Ticket {
        (self.last, self.waiting) = (self.last + 1, self.waiting + 1);
        let of_queue = self.queues.entry(queue).or_default();
        let (order, class) = of_queue.next_order(priority);
        of_queue.given[class] = order;
        let (key, notify) = ((order, self.last), Arc::new(Notify::new()));
        of_queue.waiting.insert(key, Arc::clone(&notify));
        Ticket { queue, key, notify }
    }

    /// Counts a served call, whether it waited or not, and wakes the first waiting call.
    pub(super) fn count_served(&mut self, queue: u32, ticket: Option<&Ticket>, priority: Priority) {
        if let Some(of_queue) = self.queues.get_mut(&queue) {
            let order = ticket.map_or_else(|| of_queue.next_order(priority).0, |ticket| ticket.key.0);
            // A call that a later tier serves may leave before the first call of the queue.
            of_queue.served = of_queue.waiting.first_key_value().map_or(order, |(first, _)| order.min(first.0));
            self.wake_head(queue);
        }
    }

    /// Removes a call from its queue, and wakes the first remaining call.
    pub(super) fn leave(&mut self, Ticket { queue, key, .. }: Ticket) {
        if let Some(of_queue) = self.queues.get_mut(&queue) {
            self.waiting -= usize::from(of_queue.waiting.remove(&key).is_some());
            if of_queue.waiting.is_empty() {
                self.queues.remove(&queue);
            }
        }
        self.wake_head(queue);
    }

    /// Marks the first call of each queue to be woken.
    pub(super) fn wake_heads(&mut self) {
        self.wakes_heads = true;
    }

    fn wake_head(&mut self, queue: u32) {
        let head = self.queues.get(&queue).and_then(|queue| queue.waiting.first_key_value());
        self.wakes.extend(head.map(|(_, notify)| Arc::clone(notify)));
    }

    /// Removes and returns the notifiers of the calls that must be woken.
    pub(super) fn take_wakes(&mut self) -> Vec<Arc<Notify>> {
        if std::mem::take(&mut self.wakes_heads) {
            let heads = self.queues.values().filter_map(|queue| queue.waiting.first_key_value());
            self.wakes.extend(heads.map(|(_, notify)| Arc::clone(notify)));
        }
        std::mem::take(&mut self.wakes)
    }
}
