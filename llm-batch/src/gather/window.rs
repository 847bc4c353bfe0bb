//! Decisions of an open batch. They take the time and change nothing else.
//!
//! The wait of a batch is the expected time until its free places are taken, because a caller gains nothing from a wait that fills
//! the batch no further: free places × moving average of the gaps between arrivals, at most the longest wait after the batch was
//! opened. So a burst goes out after a millisecond, and a lone caller beside a long call waits for the longest wait.
//!
//! No further call is expected from callers that each wait for a response before they send again, once all of them wait. They are
//! known by their number: the last batches of the group each left with as many calls waiting or in flight.

use std::{sync::Arc, time::Duration};

use llm_core::layer::BatchLimits;
use tokio::time::Instant;

/// Cause that sent a batch, by its name in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flush(pub(crate) &'static str);

/// Number of items, their likely input tokens, and the bound on their output tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) items: usize,
    pub(crate) tokens: u64,
    /// 0 for items whose output has no tokens.
    pub(crate) output: u64,
}

/// Arrivals of a group: the moving average of the times between them, and how many calls are pending at one time.
///
/// The average begins at the longest wait, so that the first calls of a group wait for others that long.
pub(crate) struct Arrivals {
    longest: Duration,
    /// True if a batch is sent as soon as all callers wait. Otherwise it waits for callers that are not known yet.
    counts_callers: bool,
    last: Option<Instant>,
    gap: Duration,
    /// Held by each call that waits or is in flight.
    pending: Arc<()>,
    /// Numbers of calls that were pending when the last call of each of the latest batches came, the latest batch first.
    levels: [usize; 4],
}

/// Room and times of a batch that gathers.
pub(crate) struct Window {
    opened: Instant,
    used: Size,
    most: Size,
    /// Time at which all places are expected to be taken, or the longest wait ends.
    pub(crate) due: Instant,
    /// Cause to send it. It is closed to further calls then.
    pub(crate) cause: Option<Flush>,
}

impl Flush {
    /// The batch has as many items as a request may have.
    pub(crate) const ITEMS: Self = Self("items");
    /// The next item does not fit its tokens, of input or of output.
    pub(crate) const TOKENS: Self = Self("tokens");
    /// The wait is over.
    pub(crate) const WAIT: Self = Self("wait");
    /// The deadline of a caller is near.
    pub(crate) const DEADLINE: Self = Self("deadline");
    /// The batcher was closed.
    pub(crate) const CLOSE: Self = Self("close");
    /// Nothing of the group was gathered or in flight.
    pub(crate) const IDLE: Self = Self("idle");
    /// The call takes a whole request, or more.
    pub(crate) const OVERSIZE: Self = Self("oversize");
    /// The call is sent as it is, and counted as if it were gathered.
    pub(crate) const SHADOW: Self = Self("shadow");
}

impl Size {
    /// Returns the room of a request: 10 % below the limit of tokens, because they are estimates.
    pub(crate) fn most(limits: &BatchLimits) -> Self {
        let tokens = limits.tokens.map_or(u64::MAX, |tokens| tokens - tokens / 10);
        Self { items: limits.items, tokens, output: u64::MAX }
    }

    /// Returns the sum.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            items: self.items.saturating_add(other.items),
            tokens: self.tokens.saturating_add(other.tokens),
            output: self.output.saturating_add(other.output),
        }
    }

    /// Returns `true` if no part is more than `most`.
    pub(crate) fn fits(self, most: Self) -> bool {
        self.items <= most.items && self.tokens <= most.tokens && self.output <= most.output
    }

    /// Returns `true` if a call takes a whole request, or more, or an item is larger than an item may be.
    pub(crate) fn is_oversize(self, most: Self, tokens_per_item: Option<u64>) -> bool {
        let each = self.tokens / self.items.max(1) as u64;
        self.items >= most.items
            || self.tokens >= most.tokens
            || self.output >= most.output
            || tokens_per_item.is_some_and(|of| each > of)
    }

    /// Returns how many further items of the average size fit.
    fn free(self, most: Self) -> u64 {
        let items = self.items.max(1) as u64;
        let of = |most: u64, used: u64| most.saturating_sub(used) / (used / items).max(1);
        let by_items = most.items.saturating_sub(self.items) as u64;
        by_items.min(of(most.tokens, self.tokens)).min(of(most.output, self.output))
    }
}

impl Arrivals {
    /// Creates the arrivals of a group without calls.
    pub(crate) fn new(longest: Duration, counts_callers: bool) -> Self {
        Self { longest, counts_callers, last: None, gap: longest, pending: Arc::default(), levels: [0; 4] }
    }

    /// Counts an arrival. A gap counts as no longer than the longest wait, so that a burst is soon known as one.
    pub(crate) fn arrive(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let gap = now.saturating_duration_since(last).min(self.longest);
            self.gap = (self.gap * 3 + gap) / 4;
        }
    }

    /// Counts a call as pending until what it returns is dropped.
    pub(crate) fn hold(&self) -> Arc<()> {
        Arc::clone(&self.pending)
    }

    /// Returns the number of calls that wait or are in flight.
    pub(crate) fn pending(&self) -> usize {
        Arc::strong_count(&self.pending) - 1
    }

    /// Notes that the latest call has joined a batch, or has opened one, so that the batch before is complete.
    pub(crate) fn gathered(&mut self, opens: bool) {
        if opens {
            self.levels.rotate_right(1);
        }
        self.levels[0] = self.pending();
    }

    /// Returns the expected time until so many calls have come after this one, which is not held yet.
    fn expected(&self, calls: u64) -> Duration {
        // Three batches that left with as many calls pending show how many callers there are.
        if self.counts_callers && self.levels[1..] == [self.pending() + 1; 3] {
            return Duration::ZERO;
        }
        // Timers have a resolution of a millisecond, so that a shorter wait is none: a burst would be sent in pieces.
        self.gap.saturating_mul(u32::try_from(calls).unwrap_or(u32::MAX)).max(Duration::from_millis(1))
    }
}

impl Window {
    /// Opens the window of a batch with its first call. It is closed if there is a cause to send that at once.
    pub(crate) fn open(now: Instant, size: Size, most: Size, cause: Option<Flush>, arrivals: &Arrivals) -> Self {
        let mut window = Self { opened: now, used: Size::default(), most, due: now, cause };
        window.add(now, size, arrivals);
        window
    }

    /// Adds a call, unless the batch is closed or has no room. It closes if it has none, or is full then.
    pub(crate) fn join(&mut self, now: Instant, size: Size, arrivals: &Arrivals) -> bool {
        let all = self.used.plus(size);
        if !all.fits(self.most) {
            self.close(if all.items > self.most.items { Flush::ITEMS } else { Flush::TOKENS });
        } else if self.due < now {
            self.close(Flush::WAIT);
        }
        let is_open = self.cause.is_none();
        if is_open {
            self.add(now, size, arrivals);
        }
        is_open
    }

    fn add(&mut self, now: Instant, size: Size, arrivals: &Arrivals) {
        self.used = self.used.plus(size);
        let free = self.used.free(self.most);
        self.due = (now + arrivals.expected(free)).min(self.opened + arrivals.longest);
        if free == 0 {
            self.close(if self.used.items >= self.most.items { Flush::ITEMS } else { Flush::TOKENS });
        }
    }

    /// Closes it, if it is not closed for another cause.
    pub(crate) fn close(&mut self, cause: Flush) {
        self.cause = self.cause.or(Some(cause));
    }

    /// Returns when and why the batch is to be sent, with the earliest deadline of its callers: half of the time until then is
    /// left for the call itself.
    pub(crate) fn due(&self, earliest: Option<Instant>) -> (Instant, Flush) {
        let half = earliest.map(|at| self.opened + at.saturating_duration_since(self.opened) / 2);
        match half.filter(|half| *half <= self.due) {
            Some(half) => (half, Flush::DEADLINE),
            None => (self.due, Flush::WAIT),
        }
    }

    /// Number of items, and the most that a request may have.
    pub(crate) fn fill(&self) -> (usize, usize) {
        (self.used.items, self.most.items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(10);
    const ONE: Size = Size { items: 1, tokens: 10, output: 0 };

    /// Opens a window by calls at these gaps, none of which is answered. Returns it with the time of the last call.
    fn filled(arrivals: &mut Arrivals, first: Instant, gap: Duration, calls: u32) -> (Window, Instant) {
        arrivals.arrive(first);
        let mut window = Window::open(first, ONE, Size::most(&BatchLimits::of_items(2_048)), None, arrivals);
        let mut held = vec![arrivals.hold()];
        arrivals.gathered(true);
        for n in 1..calls {
            arrivals.arrive(first + gap * n);
            assert!(window.join(first + gap * n, ONE, arrivals));
            held.push(arrivals.hold());
            arrivals.gathered(false);
        }
        (window, first + gap * (calls - 1))
    }

    #[test]
    fn wait_ends_when_all_callers_wait() {
        let (mut arrivals, mut now) = (Arrivals::new(LONGEST, true), Instant::now());
        let mut waits = Vec::new();
        // The same callers, round after round, and then fewer.
        for callers in [64, 64, 64, 64, 64, 60, 60, 60, 60] {
            let (window, last) = filled(&mut arrivals, now, Duration::from_micros(20), callers);
            waits.push(window.due.saturating_duration_since(last).as_millis());
            now = last + LONGEST;
        }
        assert_eq!(waits, [8, 8, 8, 0, 0, 8, 8, 8, 0]);
    }

    #[test]
    fn wait_of_slow_arrivals_is_longest() {
        let mut arrivals = Arrivals::new(LONGEST, true);
        let start = Instant::now();
        let (window, _) = filled(&mut arrivals, start, Duration::from_millis(2), 4);
        assert_eq!(window.due(None), (start + LONGEST, Flush::WAIT));
    }
}
