//! Decisions of an open batch. They take the time and change nothing else.
//!
//! The wait of a batch is the expected time until its free places are taken, because a caller gains nothing from a wait that fills
//! the batch no further: free places × moving average of the gaps between arrivals, at most the longest wait after the batch was
//! opened. So a burst goes out after a millisecond, and a lone caller beside a long call waits for the longest wait.
//!
//! Of many free places only [`Window::LATE`] count: if the next call is that many gaps late, the callers are likely to be those
//! that wait in the batch already, and send nothing before they have their responses.

use std::time::Duration;

use llm_core::layer::BatchLimits;
use tokio::time::Instant;

/// Cause that sent a batch, by its name in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flush(pub(crate) &'static str);

/// Number of items, and their likely input tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) items: usize,
    pub(crate) tokens: u64,
}

/// Moving average of the times between arrivals.
///
/// It begins at the longest wait, so that the first calls of a group wait for others that long.
pub(crate) struct Gaps {
    longest: Duration,
    last: Option<Instant>,
    average: Duration,
}

/// Room and times of an open batch.
pub(crate) struct Window {
    opened: Instant,
    used: Size,
    most: Size,
    /// Time at which all places are expected to be taken, or the longest wait ends.
    pub(crate) due: Instant,
}

impl Flush {
    /// The batch has as many items as a request may have.
    pub(crate) const ITEMS: Self = Self("items");
    /// The next item does not fit its tokens.
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
    fn most(limits: &BatchLimits) -> Self {
        Self { items: limits.items, tokens: limits.tokens.map_or(u64::MAX, |tokens| tokens - tokens / 10) }
    }

    /// Returns the sum.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { items: self.items.saturating_add(other.items), tokens: self.tokens.saturating_add(other.tokens) }
    }

    /// Returns `true` if neither items nor tokens are more than `most`.
    pub(crate) fn fits(self, most: Self) -> bool {
        self.items <= most.items && self.tokens <= most.tokens
    }

    /// Returns `true` if a call takes a whole request, or more.
    pub(crate) fn is_oversize(self, limits: &BatchLimits) -> bool {
        let (most, each) = (Self::most(limits), self.tokens / self.items.max(1) as u64);
        self.items >= most.items || self.tokens >= most.tokens || limits.tokens_per_item.is_some_and(|of| each > of)
    }
}

impl Gaps {
    /// Creates the average of a group without arrivals.
    pub(crate) fn new(longest: Duration) -> Self {
        Self { longest, last: None, average: longest }
    }

    /// Counts an arrival. A gap counts as no longer than the longest wait, so that a burst is soon known as one.
    pub(crate) fn arrive(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let gap = now.saturating_duration_since(last).min(self.longest);
            self.average = (self.average * 3 + gap) / 4;
        }
    }
}

impl Window {
    /// Resolution of timers.
    const RESOLUTION: Duration = Duration::from_millis(1);
    /// Number of average gaps after which no further call is expected.
    const LATE: u64 = 8;

    /// Creates the window of a batch without calls.
    pub(crate) fn new(now: Instant, limits: &BatchLimits) -> Self {
        Self { opened: now, used: Size::default(), most: Size::most(limits), due: now }
    }

    /// Returns the cause to send the batch first if a call does not fit.
    pub(crate) fn rejects(&self, size: Size) -> Option<Flush> {
        let all = self.used.plus(size);
        (!all.fits(self.most)).then_some(if all.items > self.most.items { Flush::ITEMS } else { Flush::TOKENS })
    }

    /// Adds a call. Returns the cause to send the batch if it is full.
    pub(crate) fn add(&mut self, now: Instant, size: Size, gaps: &Gaps) -> Option<Flush> {
        self.used = self.used.plus(size);
        let Size { items, tokens } = self.used;
        let each = (tokens / items.max(1) as u64).max(1);
        let by_items = self.most.items.saturating_sub(items) as u64;
        let places = by_items.min(self.most.tokens.saturating_sub(tokens) / each);
        // Timers have a resolution of a millisecond, so that a shorter wait is none: a burst would be sent in pieces.
        let expected = u32::try_from(places.min(Self::LATE)).unwrap_or(u32::MAX);
        let wait = gaps.average.saturating_mul(expected).max(Self::RESOLUTION);
        self.due = (now + wait).min(self.opened + gaps.longest);
        (places == 0).then_some(if by_items == 0 { Flush::ITEMS } else { Flush::TOKENS })
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

    /// Opens a window by calls at these gaps. Returns it with the time of the last call.
    fn filled(gaps: &mut Gaps, first: Instant, gap: Duration, calls: u32) -> (Window, Instant) {
        let mut window = Window::new(first, &BatchLimits::of_items(2_048));
        let last = first + gap * (calls - 1);
        for n in 0..calls {
            let now = first + gap * n;
            gaps.arrive(now);
            assert_eq!(window.add(now, Size { items: 1, tokens: 10 }, gaps), None);
        }
        (window, last)
    }

    #[test]
    fn wait_ends_when_next_call_is_late() {
        let (mut gaps, mut now) = (Gaps::new(LONGEST), Instant::now());
        // The same callers, round after round.
        for _ in 0..3 {
            let (window, last) = filled(&mut gaps, now, Duration::from_micros(20), 64);
            assert_eq!(window.due(None), (last + Window::RESOLUTION, Flush::WAIT));
            now = last + LONGEST;
        }
    }

    #[test]
    fn wait_of_slow_arrivals_is_longest() {
        let mut gaps = Gaps::new(LONGEST);
        let start = Instant::now();
        let (window, _) = filled(&mut gaps, start, Duration::from_millis(2), 4);
        assert_eq!(window.due(None), (start + LONGEST, Flush::WAIT));
    }
}
