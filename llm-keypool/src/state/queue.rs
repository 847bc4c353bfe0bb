//! Lines in which calls wait, one for each model: interactive calls first, in order of arrival.
//!
//! Each call of a line has a turn. The turns of interactive calls follow one another, those of background calls are sixteen
//! apart, so that of sixteen calls one is a background call and interactive ones cannot keep it away for good. Only the first
//! call of a line is woken, and wakes the next one when it leaves.

use std::{collections::BTreeMap, sync::Arc};

use llm_core::Priority;
use tokio::sync::Notify;

use crate::time::Time;

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
    /// Turn of the call that was served last.
    served: u64,
    /// Last turns that were given to interactive and to background calls.
    given: [u64; 2],
    /// First return that the first call knows.
    first_return: Time,
}

/// Turn of a waiting call. At one turn the call that waits longest is first.
type Key = (u64, u64);

/// Place of a call in a line.
#[derive(Debug)]
pub(crate) struct Ticket {
    line: u32,
    key: Key,
    pub(crate) notify: Arc<Notify>,
}

/// Number of turns of which one is a background call's.
const TURNS: u64 = 16;

impl Line {
    /// Returns the turn of a call that arrives, and the place of its priority in `given`.
    fn next_turn(&self, priority: Priority) -> (u64, usize) {
        let (class, step) = if priority == Priority::Background { (1, TURNS) } else { (0, 1) };
        (self.served.max(self.given[class]) + step, class)
    }
}

impl Queues {
    /// Returns the number of waiting calls.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns `true` if a call, which waits in a line or arrives, is served before all others, and the first return that the
    /// line knows.
    pub(super) fn turn(&self, line: u32, ticket: Option<&Ticket>, priority: Priority) -> (bool, Time) {
        let Some(line) = self.lines.get(&line) else { return (true, 0) };
        let key = ticket.map_or_else(|| (line.next_turn(priority).0, u64::MAX), |ticket| ticket.key);
        (line.waiting.first_key_value().is_none_or(|(first, _)| key <= *first), line.first_return)
    }

    /// Sets the first return that the first call of a line knows.
    pub(super) fn set_first_return(&mut self, line: u32, at: Time) {
        if let Some(line) = self.lines.get_mut(&line) {
            line.first_return = at;
        }
    }

    /// Puts a call at the end of a line.
    pub(super) fn enter(&mut self, line: u32, priority: Priority) -> Ticket {
        (self.last, self.waiting) = (self.last + 1, self.waiting + 1);
        let of_line = self.lines.entry(line).or_default();
        let (turn, class) = of_line.next_turn(priority);
        of_line.given[class] = turn;
        let (key, notify) = ((turn, self.last), Arc::new(Notify::new()));
        of_line.waiting.insert(key, Arc::clone(&notify));
        Ticket { line, key, notify }
    }

    /// Counts the turn of a call that is served, whether it waited or not, and wakes the first one.
    pub(super) fn count_turn(&mut self, line: u32, ticket: Option<&Ticket>, priority: Priority) {
        if let Some(of_line) = self.lines.get_mut(&line) {
            let turn = ticket.map_or_else(|| of_line.next_turn(priority).0, |ticket| ticket.key.0);
            // A call that a later tier serves may be served out of turn.
            of_line.served = of_line.waiting.first_key_value().map_or(turn, |(first, _)| turn.min(first.0));
            self.wake_head(line);
        }
    }

    /// Takes a call out of its line, and wakes the first one.
    pub(super) fn leave(&mut self, Ticket { line, key, .. }: Ticket) {
        if let Some(of_line) = self.lines.get_mut(&line) {
            self.waiting -= usize::from(of_line.waiting.remove(&key).is_some());
            if of_line.waiting.is_empty() {
                self.lines.remove(&line);
            }
        }
        self.wake_head(line);
    }

    /// Wakes the first call of each line.
    pub(super) fn wake_heads(&mut self) {
        self.wakes_heads = true;
    }

    fn wake_head(&mut self, line: u32) {
        let head = self.lines.get(&line).and_then(|line| line.waiting.first_key_value());
        self.wakes.extend(head.map(|(_, notify)| Arc::clone(notify)));
    }

    pub(super) fn take_wakes(&mut self) -> Vec<Arc<Notify>> {
        if std::mem::take(&mut self.wakes_heads) {
            let heads = self.lines.values().filter_map(|line| line.waiting.first_key_value());
            self.wakes.extend(heads.map(|(_, notify)| Arc::clone(notify)));
        }
        std::mem::take(&mut self.wakes)
    }
}
