//! Decides when a batch is sent. The functions get the current time as an argument.
//!
//! A batch waits for the expected time until it is full, which is the number of its free places × the moving average of
//! the gaps between arrivals, but no longer than the longest wait (`max_wait`) after the batch was opened. So the batch
//! of a burst is sent a millisecond after the last arrival, and a single caller that arrives during a long call waits
//! for the longest wait.
//!
//! If every caller waits for its response before it sends its next call, no further call arrives once all callers wait.
//! The batch is then sent at once. This case is recognised by the number of calls that wait or are in flight, which is
//! now the same as when each of the last three batches of the group was complete.

use std::{sync::Arc, time::Duration};

use llm_core::layer::BatchLimits;
use tokio::time::Instant;

/// Size of a call or a batch, or the largest size of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// Number of items.
    pub(crate) items: u64,
    /// Likely number of input tokens of these items.
    pub(crate) tokens: u64,
    /// Sum of the bounds on output tokens of these items; 0 if the operation has no such bound.
    pub(crate) output: u64,
}

/// Statistics of a group's arrivals: the moving average of the gaps between calls, and the numbers of pending calls.
///
/// The average begins at the longest wait, so that the first calls of a group wait that long for others.
pub(crate) struct Arrivals {
    longest: Duration,
    /// True if a batch is sent as soon as all known callers wait. Otherwise every batch waits for further callers.
    counts_callers: bool,
    last: Option<Instant>,
    gap: Duration,
    /// Marker whose clones are counted. Each call that waits or is in flight holds a clone.
    pending: Arc<()>,
    /// Numbers of pending calls when the last call of each of the latest four batches joined, beginning with the latest
    /// batch.
    levels: [usize; 4],
}

/// Reason why a batch is sent, by its name in metrics.
///
/// - `idle`: no other call of the group was waiting or in flight.
/// - `oversize`: the call alone fills a request or is too large for one.
/// - `items`, `tokens`: the batch has as many items as a request may have, or the tokens of the next item (of input or
///   of output) do not fit.
/// - `wait`: the waiting time is over.
/// - `deadline`: the deadline of a caller is near.
/// - `close`: the batcher was closed.
pub(crate) type Cause = &'static str;

/// Capacity of an open batch, and the time until which it waits.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    opened: Instant,
    pub(crate) used: Size,
    pub(crate) most: Size,
    /// Time at which the batch must be sent, with the reason. No call can join after that time.
    pub(crate) due: (Instant, Cause),
}

impl Size {
    /// Returns the largest size of the batch that a call of this size opens. Its tokens are 10 % below the limit of a
    /// request, because tokens are estimated. They are 0 if the call's items have on average more tokens than an item
    /// may have, so that the call is sent alone.
    pub(crate) fn room(self, limits: &BatchLimits) -> Self {
        let tokens = limits.tokens.map_or(u64::MAX, |tokens| tokens - tokens / 10);
        let is_too_large = limits.tokens_per_item.is_some_and(|most| self.tokens / self.items.max(1) > most);
        Self { items: limits.items as u64, tokens: if is_too_large { 0 } else { tokens }, output: u64::MAX }
    }

    /// Returns the sum of two sizes.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            items: self.items.saturating_add(other.items),
            tokens: self.tokens.saturating_add(other.tokens),
            output: self.output.saturating_add(other.output),
        }
    }

    /// Returns `true` if the items, the tokens and the output are each at most those of `most`.
    pub(crate) fn fits(self, most: Self) -> bool {
        self.items <= most.items && self.tokens <= most.tokens && self.output <= most.output
    }

    /// Returns `true` if a call of this size alone fills a batch of the size `most`, or is too large for such a batch.
    pub(crate) fn is_oversize(self, most: Self) -> bool {
        !self.plus(Self { items: 1, tokens: 1, output: 1 }).fits(most)
    }

    /// Returns the number of further items of the average size that fit into a batch of the size `most`.
    fn free(self, most: Self) -> u64 {
        let items = self.items.max(1);
        let of = |most: u64, used: u64| most.saturating_sub(used) / (used / items).max(1);
        of(most.items, self.items).min(of(most.tokens, self.tokens)).min(of(most.output, self.output))
    }
}

impl Arrivals {
    /// Creates the arrivals of a group without calls. A longest wait of more than a day counts as a day, so that the
    /// time at which the wait ends does not overflow.
    pub(crate) fn new(longest: Duration, counts_callers: bool) -> Self {
        let longest = longest.min(Duration::from_secs(24 * 60 * 60));
        Self { longest, counts_callers, last: None, gap: longest, pending: Arc::default(), levels: [0; 4] }
    }

    /// Records the arrival of a call, which counts as pending until the returned value is dropped. The gap before the
    /// call counts as at most the longest wait, so that the average falls soon in a burst.
    pub(crate) fn arrive(&mut self, now: Instant) -> Arc<()> {
        if let Some(last) = self.last.replace(now) {
            let gap = now.saturating_duration_since(last).min(self.longest);
            self.gap = (self.gap * 3 + gap) / 4;
        }
        Arc::clone(&self.pending)
    }

    /// Returns the number of calls that wait or are in flight.
    pub(crate) fn pending(&self) -> usize {
        Arc::strong_count(&self.pending) - 1
    }

    /// Returns the expected time until `calls` further calls have arrived.
    fn expected(&self, calls: u64) -> Duration {
        // If as many calls are pending as at the end of each of the last three batches, all callers wait, and no
        // further call is expected.
        if self.counts_callers && self.levels[1..] == [self.levels[0]; 3] {
            return Duration::ZERO;
        }
        // The wait is at least a millisecond, because timers have that resolution. With a shorter wait a burst would be
        // sent in pieces.
        self.gap.saturating_mul(u32::try_from(calls).unwrap_or(u32::MAX)).max(Duration::from_millis(1))
    }
}

impl Window {
    /// Opens the window of a batch with its first call. `alone` is the reason to send that call alone, if there is one.
    pub(crate) fn open(now: Instant, size: Size, most: Size, alone: Option<Cause>, arrivals: &mut Arrivals) -> Self {
        let mut window = Self { opened: now, used: size, most, due: (now, alone.unwrap_or("wait")) };
        if alone.is_none() {
            // The number of the previous batch is final, so a place for the new batch is inserted before it.
            arrivals.levels.rotate_right(1);
            window.wait(now, arrivals);
        }
        window
    }

    /// Adds a call that has just arrived. Returns `false` if the batch is overdue or the call does not fit. In the
    /// latter case the batch must be sent at once.
    pub(crate) fn join(&mut self, now: Instant, size: Size, arrivals: &mut Arrivals) -> bool {
        let all = self.used.plus(size);
        let is_open = now <= self.due.0;
        let joins = is_open && all.fits(self.most);
        if joins {
            self.used = all;
            self.wait(now, arrivals);
        } else if is_open {
            self.due = (now, if all.items > self.most.items { "items" } else { "tokens" });
        }
        joins
    }

    /// Updates the time at which the batch must be sent, and the number of pending calls of this batch.
    fn wait(&mut self, now: Instant, arrivals: &mut Arrivals) {
        arrivals.levels[0] = arrivals.pending();
        self.due = match self.used.free(self.most) {
            0 => (now, if self.used.items >= self.most.items { "items" } else { "tokens" }),
            free => ((now + arrivals.expected(free)).min(self.opened + arrivals.longest), "wait"),
        };
    }

    /// Returns the time at which the batch must be sent, with the reason. `earliest` is the earliest deadline of the
    /// batch's callers. Half of the time from the opening of the batch to that deadline is left for the request itself.
    pub(crate) fn due(&self, earliest: Option<Instant>, is_closed: bool) -> (Instant, Cause) {
        let half = earliest.map(|at| (self.opened + at.saturating_duration_since(self.opened) / 2, "deadline"));
        let closed = is_closed.then_some((self.opened, "close"));
        let earlier = half.into_iter().chain(closed).filter(|due| due.0 < self.due.0);
        earlier.min_by_key(|due| due.0).unwrap_or(self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(10);
    const ONE: Size = Size { items: 1, tokens: 10, output: 0 };

    /// Opens a window, to which `calls` calls are added at equal gaps without a response. Returns the window and the
    /// time of the last call.
    fn filled(arrivals: &mut Arrivals, first: Instant, gap: Duration, calls: u32) -> (Window, Instant) {
        let mut held = vec![arrivals.arrive(first)];
        let mut window = Window::open(first, ONE, ONE.room(&BatchLimits::of_items(2_048)), None, arrivals);
        for n in 1..calls {
            held.push(arrivals.arrive(first + gap * n));
            assert!(window.join(first + gap * n, ONE, arrivals));
        }
        (window, first + gap * (calls - 1))
    }

    #[test]
    fn wait_ends_when_all_callers_wait() {
        let (mut arrivals, mut now) = (Arrivals::new(LONGEST, true), Instant::now());
        let mut waits = Vec::new();
        // Each round has the same number of callers at first, and later a smaller number.
        for callers in [64, 64, 64, 64, 64, 60, 60, 60, 60] {
            let (window, last) = filled(&mut arrivals, now, Duration::from_micros(20), callers);
            waits.push(window.due(None, false).0.saturating_duration_since(last).as_millis());
            now = last + LONGEST;
        }
        assert_eq!(waits, [8, 8, 8, 0, 0, 8, 8, 8, 0]);
    }

    #[test]
    fn wait_of_slow_arrivals_is_longest() {
        let mut arrivals = Arrivals::new(LONGEST, true);
        let start = Instant::now();
        let (window, _) = filled(&mut arrivals, start, Duration::from_millis(2), 4);
        assert_eq!(window.due(None, false), (start + LONGEST, "wait"));
    }
}
