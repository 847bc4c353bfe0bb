use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    time::Duration,
};

use llm_core::{Error, ErrorKind, layer::BatchLimits};
use tokio::sync::Notify;

use crate::{Stats, stats::Counters, telemetry};

/// Settings of a batcher or layer.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) limits: BatchLimits,
    pub(crate) max_wait: Duration,
    pub(crate) max_pending: (u64, u64),
    pub(crate) shadow: bool,
}

/// Settings, counters and pending calls, which all batches of a batcher or service share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) counters: Counters,
    closed: AtomicBool,
    items: AtomicU64,
    tokens: AtomicU64,
    /// Notified when the last pending call has ended.
    drained: Notify,
}

/// Room of a call that waits, or whose request is in flight. Dropped, it is given back.
pub(crate) struct Pending<S: AsRef<Shared>> {
    of: S,
    items: u64,
    tokens: u64,
}

impl Settings {
    pub(crate) const fn new(limits: BatchLimits) -> Self {
        Self { limits, max_wait: Duration::from_millis(10), max_pending: (10_000, 10_000_000), shadow: false }
    }

    /// Returns the tokens that a batch is filled to: 10 % below the limit, because they are estimates.
    pub(crate) fn token_room(&self) -> u64 {
        self.limits.tokens.map_or(u64::MAX, |tokens| tokens - tokens / 10)
    }

    /// Returns `true` if a call is to be sent alone because of its size.
    pub(crate) fn is_oversize(&self, items: usize, tokens: u64) -> bool {
        let of_items = self.limits.tokens_per_item.map(|each| each.saturating_mul(items as u64));
        items >= self.limits.items || tokens >= self.token_room() || of_items.is_some_and(|most| tokens > most)
    }
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Self {
        let (counters, closed, items, tokens, drained) = Default::default();
        Self { settings, counters, closed, items, tokens, drained }
    }

    /// Takes room for a call.
    pub(crate) fn admit<S: AsRef<Self>>(of: S, items: usize, tokens: u64) -> Result<Pending<S>, Error> {
        let items = items as u64;
        let shared = of.as_ref();
        // Counted before the flag is read, so that a drain sees the call or the call sees that it is closed.
        let before = (shared.items.fetch_add(items, SeqCst), shared.tokens.fetch_add(tokens, SeqCst));
        let pending = Pending { of, items, tokens };
        let shared = pending.of.as_ref();
        if shared.closed.load(SeqCst) {
            return Err(Error::new(ErrorKind::Closed, "the batcher was closed: make another one for further calls"));
        }
        let (most_items, most_tokens) = shared.settings.max_pending;
        // A single call is always admitted, however large.
        if before.0 > 0 && (before.0 + items > most_items || before.1.saturating_add(tokens) > most_tokens) {
            shared.counters.refused.fetch_add(1, Relaxed);
            telemetry::refused();
            let (items, tokens) = before;
            let message = format!(
                "{items} items of {tokens} tokens wait for responses, and at most {most_items} of {most_tokens} may: \
                 make fewer calls at one time, or raise max_pending"
            );
            return Err(Error::new(ErrorKind::Overloaded, message));
        }
        Ok(pending)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// Waits until no call is pending.
    pub(crate) async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            if self.items.load(SeqCst) == 0 {
                return;
            }
            drained.await;
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.stats()
    }
}

impl<S: AsRef<Shared>> Drop for Pending<S> {
    fn drop(&mut self) {
        let shared = self.of.as_ref();
        shared.tokens.fetch_sub(self.tokens, SeqCst);
        if shared.items.fetch_sub(self.items, SeqCst) == self.items {
            shared.drained.notify_waiters();
        }
    }
}
