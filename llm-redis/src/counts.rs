//! Counters behind [`Stats`].

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, ErrorKind, Stats};

#[derive(Default)]
pub(crate) struct Counts {
    calls: AtomicU64,
    answered: AtomicU64,
    timed_out: AtomicU64,
    refused: AtomicU64,
    crowded: AtomicU64,
    pub(crate) repeated: Count,
    pub(crate) scripts_sent: Count,
    pub(crate) connected: Count,
    pub(crate) opened: Count,
    pub(crate) probes_failed: Count,
}

#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counts {
    pub(crate) fn call<T>(&self, result: &Result<T, Error>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let count = match result.as_ref().map_err(Error::kind) {
            Err(ErrorKind::Timeout) => &self.timed_out,
            Err(ErrorKind::Unavailable) => &self.refused,
            Err(ErrorKind::Busy) => &self.crowded,
            Err(ErrorKind::Connection | ErrorKind::Closed | ErrorKind::CrossSlot | ErrorKind::Protocol) => return,
            _ => &self.answered,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Stats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            calls: load(&self.calls),
            completed: load(&self.answered),
            timed_out: load(&self.timed_out),
            refused: load(&self.refused),
            busy: load(&self.crowded),
            retried: load(&self.repeated.0),
            scripts_loaded: load(&self.scripts_sent.0),
            connections: load(&self.connected.0),
            breaker_opened: load(&self.opened.0),
            probes_failed: load(&self.probes_failed.0),
            ..Stats::default()
        }
    }
}
