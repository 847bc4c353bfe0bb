//! Thread that writes balances into the store.

use std::{sync::Arc, time::Duration};

use super::flush_loop::FlushLoop;
use crate::{Limiter, Store, StoreError, runtime::block_on, store::Changes};

struct Writer {
    limiter: Limiter,
    store: Store,
    flush_loop: Arc<FlushLoop>,
    every: Duration,
    within: Duration,
    /// Changes that are not written yet: at most one for each window that the limiter has, or has dropped since a write
    /// failed.
    pending: Changes,
    /// Tenants whose balances are to be removed from the store.
    forgotten: Vec<String>,
    failing: bool,
}

/// Guard that reports the end of the thread, after everything that the thread owned has been dropped.
struct End {
    limiter: Limiter,
    flush_loop: Arc<FlushLoop>,
}

/// Starts the thread, which writes the limiter's balances into the store until the persister is closed.
pub(super) fn start(
    store: Store,
    limiter: Limiter,
    flush_loop: Arc<FlushLoop>,
    every: Duration,
    within: Duration,
) -> Result<(), StoreError> {
    let end = End { limiter: limiter.clone(), flush_loop: Arc::clone(&flush_loop) };
    let writer = Writer {
        limiter,
        store,
        flush_loop,
        every,
        within,
        pending: Changes::default(),
        forgotten: Vec::new(),
        failing: false,
    };
    let thread = std::thread::Builder::new().name("llm-ratelimit-books".into());
    let work = move || {
        let _end = end;
        writer.run();
    };
    thread.spawn(work).map(drop).map_err(|error| StoreError::Write(format!("no thread: {error}")))
}

impl Writer {
    fn run(mut self) {
        loop {
            let round = self.flush_loop.begin(self.every);
            self.limiter.0.flush_watchdog.begin(self.within);
            self.forgotten.extend_from_slice(&round.forget);
            let outcome = self.write();
            match &outcome {
                Ok(()) => self.limiter.0.flush_watchdog.end(),
                Err(error) if !self.failing => tracing::error!(%error, "balances are not written, trying again"),
                Err(_) => {}
            }
            self.failing = outcome.is_err();
            self.flush_loop.end(&round, outcome);
            if round.is_last {
                return;
            }
        }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        for tenant in &self.forgotten {
            self.pending.forget(tenant);
            self.pending.remove(self.store.balances_of(tenant)?);
        }
        self.pending.put(block_on(self.limiter.changed_balances()));
        self.store.write(&self.pending)?;
        self.pending.clear();
        self.forgotten.clear();
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // No later change would be stored, so calls that count in calendar windows are refused from now on.
            self.limiter.0.flush_watchdog.stop();
        }
        self.flush_loop.stop();
    }
}
