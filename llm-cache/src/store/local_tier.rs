//! Local tier (L1) in front of a remote store (L2).
//!
//! An entry may be removed while it is being fetched. Therefore removals are counted, and a fetched entry is added to
//! the local tier only if no entry has been removed since the fetch began.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use llm_core::Clock;

use super::{Entry, Memory, Store, StoreFuture};
use crate::{Key, key::BorrowedKey};

/// Memory in front of a remote store. It holds entries that were stored or fetched recently, for the time `ttl` if it
/// is set.
pub(crate) struct LocalTier {
    pub(crate) memory: Memory,
    ttl: Option<Duration>,
    clock: Arc<dyn Clock>,
    removals: AtomicU64,
}

impl LocalTier {
    pub(crate) fn new(memory: Memory, ttl: Option<Duration>, clock: Arc<dyn Clock>) -> Self {
        Self { memory, ttl, clock, removals: AtomicU64::new(0) }
    }

    pub(crate) fn peek(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>> {
        let entry = self.memory.peek(key)?;
        match entry.leaves_at {
            Some(leaves_at) if leaves_at <= self.clock.now() => None,
            _ => Some(entry),
        }
    }

    /// Adds an entry that a call has just produced. Returns `true` if the entry was added.
    pub(crate) fn put(&self, key: Key, entry: &Entry) -> bool {
        self.memory.put(key, self.own(entry))
    }

    /// Returns the number of removals: see [`Store::removals`].
    pub(crate) fn removals(&self) -> u64 {
        self.removals.load(Ordering::Acquire)
    }

    /// Adds a fetched entry, unless the number of removals has changed from `removals`, or there is an entry whose call
    /// began later.
    pub(crate) fn fill(&self, key: BorrowedKey<'_>, entry: &Entry, removals: u64) {
        if self.memory.conforms(entry) {
            self.memory.put_if(key.to_key(), self.own(entry), || self.removals() == removals);
        }
    }

    /// Removes an entry. Callers call this method before the remote store removes the entry and again after that,
    /// because the entry may be fetched in between.
    pub(crate) fn remove(&self, key: &Key) {
        self.removing();
        drop(self.memory.remove(key));
    }

    /// Removes the entries of a tenant.
    pub(crate) fn forget<'a>(&'a self, tenant: &'a str) -> StoreFuture<'a, ()> {
        self.removing();
        self.memory.forget(tenant)
    }

    /// Removes all entries.
    pub(crate) fn clear(&self) -> StoreFuture<'_, ()> {
        self.removing();
        self.memory.clear()
    }

    /// Counts a removal, so that entries whose fetches began earlier are not added.
    fn removing(&self) {
        self.removals.fetch_add(1, Ordering::AcqRel);
    }

    /// Copies an entry for the local tier, with the time from which the tier no longer serves the copy.
    fn own(&self, entry: &Entry) -> Arc<Entry> {
        let leaves_at = self.ttl.and_then(|ttl| self.clock.now().checked_add(ttl));
        Arc::new(entry.copy("memory", leaves_at))
    }
}
