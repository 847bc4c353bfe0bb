//! Settings, bounds and counts of the calls of all groups.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use llm_core::{Error, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::window::{Size, Window};
use crate::{BatchLayer, Stats};

/// State that all batches of a batcher or service share.
pub(crate) struct Shared {
    pub(crate) settings: BatchLayer,
    stats: Mutex<Stats>,
    items: Room,
    tokens: Room,
    /// Semaphore without permits. It is closed with the batcher, and ends the wait of those who ask for one.
    pub(super) closing: Semaphore,
}

/// The most that may be pending, and the part of it that is free.
type Room = (u32, Arc<Semaphore>);

impl Shared {
    pub(super) fn new(settings: &BatchLayer) -> Arc<Self> {
        let settings = settings.clone();
        let room = |most: u64| {
            let most = if settings.is_shadow { u64::MAX } else { most.max(1) };
            let most = u32::try_from(most.min(Semaphore::MAX_PERMITS as u64)).unwrap_or(u32::MAX);
            (most, Arc::new(Semaphore::new(most as usize)))
        };
        let (items, tokens) = (room(settings.max_pending.0 as u64), room(settings.max_pending.1));
        Arc::new(Self { settings, stats: Mutex::default(), items, tokens, closing: Semaphore::new(0) })
    }

    /// Takes room for a call until the permits are dropped. A call that needs more than all room takes all, so that it is admitted
    /// if it is the only one.
    ///
    /// # Errors
    ///
    /// `Closed` after [`close`](Self::close), and `Overloaded` if too much is pending.
    pub(super) fn admit(&self, size: Size) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Error> {
        let take = |(most, free): &Room, part: u64| {
            let part = u32::try_from(part).map_or(*most, |part| part.min(*most));
            Arc::clone(free).try_acquire_many_owned(part).ok()
        };
        let permits = take(&self.items, size.items).zip(take(&self.tokens, size.tokens));
        // Asked after the items are taken, so that `close` waits for the call, or the call is refused.
        if self.closing.is_closed() {
            return Err(Error::new(ErrorKind::Closed, "the batcher was closed: make another one for further calls"));
        }
        if let Some(permits) = permits {
            self.stats().calls += 1;
            return Ok(permits);
        }
        self.stats().refused += 1;
        #[cfg(feature = "metrics")]
        metrics::counter!("llm_batch_refused_total").increment(1);
        let pending = |(most, free): &Room| *most as usize - free.available_permits();
        let (items, tokens) = (pending(&self.items), pending(&self.tokens));
        let (most_items, most_tokens) = (self.items.0, self.tokens.0);
        let message = format!(
            "{items} items of {tokens} tokens wait for responses, and at most {most_items} of {most_tokens} may: make fewer \
             calls at one time, or raise max_pending"
        );
        Err(Error::new(ErrorKind::Overloaded, message))
    }

    /// Refuses further calls, has the open batches sent, and waits until no call is pending. Their callers must be polled
    /// meanwhile, because they drive the batches.
    pub(crate) async fn close(&self) {
        self.closing.close();
        let _all = self.items.1.acquire_many(self.items.0).await;
    }

    /// Locks the counts since the batcher or service was made.
    pub(crate) fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a batch that is sent, or would be in shadow mode, with its number of items and the time that each call waited. No
    /// tenant is in the event or the metrics.
    pub(super) fn flushed(&self, window: &Window, items: u64, waits: &[Duration]) {
        let (cause, most, shadow) = (window.due.1, window.most.items, self.settings.is_shadow);
        let (calls, wait) = (waits.len(), waits.iter().max().copied().unwrap_or_default());
        tracing::debug!(cause, calls, items, ?wait, most, shadow, "a batch is sent");
        #[cfg(feature = "metrics")]
        {
            let shadow = if shadow { "1" } else { "0" };
            metrics::counter!("llm_batch_requests_total", "cause" => cause, "shadow" => shadow).increment(1);
            metrics::histogram!("llm_batch_fill_ratio", "shadow" => shadow).record(items as f64 / most as f64);
            for wait in waits {
                metrics::histogram!("llm_batch_wait_seconds").record(wait.as_secs_f64());
            }
        }
    }
}
