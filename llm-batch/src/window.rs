//! Decisions of an open batch. They take the time and change nothing else.

use std::time::Duration;

use tokio::time::Instant;

use crate::settings::Settings;

/// Cause that sent a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// The batch has as many items as a request may have.
    Items,
    /// The next item does not fit its tokens.
    Tokens,
    /// The wait is over.
    Wait,
    /// The deadline of a caller is near.
    Deadline,
    /// The batcher was closed.
    Close,
    /// Nothing of the group was gathered or in flight.
    Idle,
    /// The call takes a whole request, or more.
    Oversize,
}

/// Moving average of the times between arrivals.
pub(crate) struct Gaps {
    last: Option<Instant>,
    average: Duration,
}

/// Room and times of an open batch.
pub(crate) struct Window {
    opened: Instant,
    items: usize,
    tokens: u64,
    /// Time at which all places are expected to be taken.
    full: Instant,
    /// Longest wait.
    latest: Instant,
    /// Time to send, for the earliest deadline of a caller.
    deadline: Option<Instant>,
}

impl Flush {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::Tokens => "tokens",
            Self::Wait => "wait",
            Self::Deadline => "deadline",
            Self::Close => "close",
            Self::Idle => "idle",
            Self::Oversize => "oversize",
        }
    }
}

impl Gaps {
    pub(crate) fn new(longest: Duration) -> Self {
        Self { last: None, average: longest }
    }

    /// Counts an arrival. A gap counts as no longer than the longest wait, so that a burst is soon known as one.
    pub(crate) fn arrive(&mut self, now: Instant, longest: Duration) {
        if let Some(last) = self.last.replace(now) {
            let gap = now.saturating_duration_since(last).min(longest);
            self.average = (self.average * 3 + gap) / 4;
        }
    }
}

impl Window {
    /// Resolution of timers.
    pub(crate) const RESOLUTION: Duration = Duration::from_millis(1);

    pub(crate) fn new(now: Instant, longest: Duration) -> Self {
        let latest = now + longest;
        Self { opened: now, items: 0, tokens: 0, full: latest, latest, deadline: None }
    }

    /// Returns the cause to send the batch first if a call does not fit.
    pub(crate) fn rejects(&self, items: usize, tokens: u64, settings: &Settings) -> Option<Flush> {
        if self.items.saturating_add(items) > settings.limits.items {
            return Some(Flush::Items);
        }
        (self.tokens.saturating_add(tokens) > settings.token_room()).then_some(Flush::Tokens)
    }

    /// Adds a call. Returns the cause if the batch is full.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        items: usize,
        tokens: u64,
        gaps: &Gaps,
        settings: &Settings,
    ) -> Option<Flush> {
        self.items += items;
        self.tokens = self.tokens.saturating_add(tokens);
        let each = (self.tokens / self.items.max(1) as u64).max(1);
        let by_tokens = settings.token_room().saturating_sub(self.tokens) / each;
        let places = (settings.limits.items.saturating_sub(self.items) as u64).min(by_tokens);
        // Timers have a resolution of a millisecond, so that a shorter wait is none: a burst would be sent in pieces.
        let wait = gaps.average.saturating_mul(u32::try_from(places).unwrap_or(u32::MAX)).max(Self::RESOLUTION);
        self.full = now + wait.min(settings.max_wait);
        (self.items >= settings.limits.items).then_some(Flush::Items).or((places == 0).then_some(Flush::Tokens))
    }

    /// Sets the earliest deadline of the callers: half of the time until then is left for the call itself.
    pub(crate) fn limit(&mut self, earliest: Option<Instant>) {
        self.deadline = earliest.map(|at| self.opened + at.saturating_duration_since(self.opened) / 2);
    }

    /// Returns when the batch is to be sent.
    pub(crate) fn due(&self) -> Instant {
        let wait = self.full.min(self.latest);
        self.deadline.map_or(wait, |deadline| wait.min(deadline))
    }

    /// Returns the cause if it is time to send the batch.
    pub(crate) fn is_due(&self, now: Instant) -> Option<Flush> {
        let by_deadline = self.deadline.is_some_and(|deadline| deadline <= self.full.min(self.latest));
        (self.due() <= now).then_some(if by_deadline { Flush::Deadline } else { Flush::Wait })
    }

    pub(crate) fn items(&self) -> usize {
        self.items
    }
}
