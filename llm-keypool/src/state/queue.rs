//! Lines in which calls wait, one for each model: interactive calls first, in order of arrival.
//!
//! Of sixteen turns of a line one is a background call's, so that interactive ones cannot keep it away for good. Only the first
//! call of a line is woken, and wakes the next one when it leaves.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

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
    /// Returns the number of waiting calls.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns `true` if a call of a line is served before all others, and the first return that the line knows.
    pub(super) fn turn(&self, line: u32, ticket: Option<&Ticket>, priority: Priority) -> (bool, Time) {
        let key = ticket.map_or((Reverse(priority), u64::MAX), |ticket| ticket.key);
        self.lines.get(&line).map_or((true, 0), |line| (line.is_next(key), line.first_return))
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
        let (key, notify) = ((Reverse(priority), self.last), Arc::new(Notify::new()));
        self.lines.entry(line).or_default().waiting.insert(key, Arc::clone(&notify));
        Ticket { line, key, notify }
    }

    /// Counts the turn of a call that is served, whether it waited or not, and wakes the first one.
    pub(super) fn count_turn(&mut self, line: u32, priority: Priority) {
        if let Some(of_line) = self.lines.get_mut(&line) {
            let is_passed = priority != Priority::Background && of_line.waits_in_background();
            of_line.streak = if is_passed { of_line.streak + 1 } else { 0 };
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
