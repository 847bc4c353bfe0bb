//! Thread that writes pending entries, with one durable commit for each batch.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    disk::{Batch, Fault, Row},
    pending::{Wake, Work},
    shared::Shared,
};
use crate::{Key, StoreError, store::Entry};

/// Idle time after which the writer looks for entries that have reached the end of their use.
const IDLE: Duration = Duration::from_secs(60);
/// Largest number of expired entries that one commit removes.
const SWEEP: usize = 256;

/// Writes pending entries, until the store closes.
pub(super) fn run(shared: &Shared) {
    let mut reopened = None;
    loop {
        let wake = shared.pending.wait(IDLE);
        shared.reopen_if_broken(&mut reopened);
        match wake {
            Wake::Work => shared.write_pending(),
            Wake::Idle => shared.sweep(),
            Wake::Closed => return,
        }
    }
}

impl Shared {
    fn write_pending(&self) {
        // The work is taken while no other change runs, so that a caller that removes an entry from the pending ones
        // and then from the file finds the entry in one of the two places.
        let mut work = Work::default();
        let written = catch_unwind(AssertUnwindSafe(|| {
            self.change(|batch| {
                work = self.pending.take();
                self.write(batch, &work)
            })
        }));
        let failed = match written {
            Ok(Ok(evicted)) => {
                self.counts.evicted.fetch_add(evicted, Ordering::Relaxed);
                None
            }
            Ok(Err(error)) => Some(error),
            Err(_) => Some(StoreError::new("file", "writing panicked: the file may be damaged")),
        };
        if failed.is_some() {
            if work.entries.is_empty() && work.evictions.is_empty() {
                work = self.pending.take();
            }
            self.counts.dropped_writes.fetch_add(work.entries.len() as u64, Ordering::Relaxed);
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.pending.done(&work, failed);
    }

    /// Writes a batch, removes expired entries, and evicts the oldest entries beyond the capacity. Returns the number
    /// of evicted entries.
    fn write(&self, batch: &mut Batch<'_>, work: &Work) -> Result<u64, Fault> {
        for (key, judged) in &work.evictions {
            batch.evict_unless_newer(&self.codec.name(key), *judged)?;
        }
        for (key, entry) in &work.entries {
            match self.row(key, entry) {
                Some(row) => batch.put(&row)?,
                None => drop(self.counts.dropped_writes.fetch_add(1, Ordering::Relaxed)),
            }
        }
        batch.sweep(self.now(), SWEEP)?;
        batch.shrink(self.max_bytes)
    }

    /// Encodes an entry; `None` if the entry is no longer valid, cannot be encoded, or is larger than the capacity.
    fn row(&self, key: &Key, entry: &Arc<Entry>) -> Option<Row> {
        if !self.allows(&entry.provenance) {
            return None;
        }
        // The `Serialize` implementation of the application runs here, and may panic.
        let (name, record) = catch_unwind(AssertUnwindSafe(|| self.codec.write_entry(key, entry))).ok()??;
        let row = Row { name, ends: self.ends(&entry.expiry), started_at: entry.provenance.started_at, record };
        (row.bytes() <= self.max_bytes).then_some(row)
    }

    fn sweep(&self) {
        let now = self.now();
        let swept = || -> Result<(), StoreError> {
            while self.with(|disk| disk.has_ended(now))? && self.change(|batch| batch.sweep(now, SWEEP))? {}
            Ok(())
        };
        if !matches!(catch_unwind(AssertUnwindSafe(swept)), Ok(Ok(()))) {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}
