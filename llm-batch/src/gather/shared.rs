//! Settings, bounds and counts of the calls of all groups.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use llm_core::{Error, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::window::{Size, Window};
use crate::{BatchLayer, Stats};

/// State that all batches of a batcher or a service share.
pub(crate) struct Shared {
    pub(crate) settings: BatchLayer,
    stats: Mutex<Stats>,
    items: Room,
    tokens: Room,
    /// Semaphore without permits. Closing the batcher closes it, which wakes the batches that wait to be sent.
    pub(super) closing: Semaphore,
}

/// Largest number of items or tokens that may be pending, and a semaphore with a permit for each that is free.
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

    /// Takes the permits for a call, which counts as pending until the permits are dropped. A call larger than the
    /// bound takes all permits, so that it is admitted if it is the only one.
    ///
    /// # Errors
    ///
    /// Returns `Closed` after [`close`](Self::close), and `Overloaded` if too many calls are pending.
    pub(super) fn admit(&self, size: Size) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Error> {
        let take = |(most, free): &Room, part: u64| {
            let part = u32::try_from(part).map_or(*most, |part| part.min(*most));
            Arc::clone(free).try_acquire_many_owned(part).ok()
        };
        let permits = take(&self.items, size.items).zip(take(&self.tokens, size.tokens));
        // `closing` is checked after the permits are taken, so that a call that races with `close` is either refused or
        // awaited by `close`.
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

    /// Refuses further calls, closes the open batches so that they are sent, and waits until no call is pending. The
    /// futures of the callers must be polled meanwhile, because they drive the batches.
    pub(crate) async fn close(&self) {
        self.closing.close();
        let _all = self.items.1.acquire_many(self.items.0).await;
    }

    /// Locks and returns the counts since the batcher or service was created.
    pub(crate) fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a batch that is sent, or in shadow mode would be sent, with its number of items and the waiting time of
    /// each call. The event and the metrics do not contain tenants.
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
