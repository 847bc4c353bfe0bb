//! Counters behind [`Stats`].

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, ErrorKind, Stats};

/// Counters of a client, updated without a lock.
#[derive(Default)]
pub(crate) struct Counts {
    calls: Count,
    completed: Count,
    timed_out: Count,
    refused: Count,
    busy: Count,
    pub(crate) retried: Count,
    pub(crate) scripts_loaded: Count,
    pub(crate) connections: Count,
    pub(crate) breaker_opened: Count,
    pub(crate) probes_failed: Count,
}

/// Counter that starts at 0 and is only incremented.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counts {
    /// Counts a call, and its outcome if [`Stats`] has a counter for that outcome.
    pub(crate) fn record_call<T>(&self, result: &Result<T, Error>) {
        self.calls.increment();
        let outcome = match result.as_ref().map_err(Error::kind) {
            Err(ErrorKind::Timeout) => &self.timed_out,
            Err(ErrorKind::Unavailable) => &self.refused,
            Err(ErrorKind::Busy) => &self.busy,
            Err(ErrorKind::Connection | ErrorKind::Closed | ErrorKind::CrossSlot | ErrorKind::Protocol) => return,
            _ => &self.completed,
        };
        outcome.increment();
    }

    /// Returns the current values of the counters.
    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            calls: self.calls.get(),
            completed: self.completed.get(),
            timed_out: self.timed_out.get(),
            refused: self.refused.get(),
            busy: self.busy.get(),
            retried: self.retried.get(),
            scripts_loaded: self.scripts_loaded.get(),
            connections: self.connections.get(),
            breaker_opened: self.breaker_opened.get(),
            probes_failed: self.probes_failed.get(),
            ..Stats::default()
        }
    }
}
