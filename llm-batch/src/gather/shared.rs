//! Settings, counts and the bound of what is pending.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use llm_core::{Error, ErrorKind};
use tokio::sync::Notify;

use super::{telemetry, window::Size};
use crate::{BatchLayer, Stats};

/// State that all batches of a batcher or service share: settings, counts, bounds of what is pending, closing.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: BatchLayer,
    totals: Mutex<Totals>,
    /// Notified when it is closed, and when the last pending call has ended.
    pub(super) changed: Notify,
}

/// Counts, and what is pending. One lock for all, so that a drain sees a call or the call sees that it is closed.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) stats: Stats,
    pub(super) is_closed: bool,
    /// Calls that wait or are in flight.
    pending: Size,
}

/// Room of a call that waits, or whose request is in flight. Dropped, it is given back.
pub(super) struct Admitted(Arc<Shared>, Size);

impl Shared {
    pub(crate) fn new(settings: &BatchLayer) -> Arc<Self> {
        let settings = settings.clone();
        Arc::new(Self { settings, totals: Mutex::default(), changed: Notify::new() })
    }

    /// Takes room for a call. A single call is always admitted, however large, and every one in shadow mode.
    ///
    /// # Errors
    ///
    /// `Closed` after [`close`](Self::close), and `Overloaded` if too much is pending.
    pub(super) fn admit(self: &Arc<Self>, size: Size) -> Result<Admitted, Error> {
        let most = self.settings.max_pending;
        let mut totals = self.totals();
        if totals.is_closed {
            return Err(Error::new(ErrorKind::Closed, "the batcher was closed: make another one for further calls"));
        }
        let (pending, all) = (totals.pending, totals.pending.plus(size));
        if pending.items == 0 || all.fits(most) || self.settings.is_shadow {
            totals.pending = all;
            totals.stats.calls += 1;
            return Ok(Admitted(Arc::clone(self), size));
        }
        totals.stats.refused += 1;
        drop(totals);
        telemetry::refused();
        let message = format!(
            "{} items of {} tokens wait for responses, and at most {} of {} may: make fewer calls at one time, or raise \
             max_pending",
            pending.items, pending.tokens, most.items, most.tokens
        );
        Err(Error::new(ErrorKind::Overloaded, message))
    }

    /// Refuses further calls, has the open batches sent, and waits until no call is pending. Their callers must be polled
    /// meanwhile, because they drive the batches.
    pub(crate) async fn close(&self) {
        self.totals().is_closed = true;
        self.changed.notify_waiters();
        loop {
            let changed = self.changed.notified();
            if self.totals().pending.items == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Locks the counts. A call takes the lock three times, for some 20 ns each.
    pub(crate) fn totals(&self) -> MutexGuard<'_, Totals> {
        // Nothing foreign runs inside, and the state is whole after every statement.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let Self(shared, size) = self;
        let pending = &mut shared.totals().pending;
        pending.items -= size.items;
        pending.tokens = pending.tokens.saturating_sub(size.tokens);
        pending.output = pending.output.saturating_sub(size.output);
        if pending.items == 0 {
            shared.changed.notify_waiters();
        }
    }
}
