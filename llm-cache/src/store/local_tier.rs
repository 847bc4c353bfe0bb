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

/// Memory in front of a store further away: what was stored or fetched here of late, for a short time if one is set.
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

    /// Puts an entry that was bought just now.
    pub(crate) fn put(&self, key: Key, entry: &Entry) -> bool {
        self.memory.put(key, self.own(entry))
    }

    /// How many removals there were: see [`Store::removals`].
    pub(crate) fn removals(&self) -> u64 {
        self.removals.load(Ordering::Acquire)
    }

    /// Puts an entry that was fetched when there were so many removals, unless there is one whose call began later.
    pub(crate) fn fill(&self, key: BorrowedKey<'_>, entry: &Entry, removals: u64) {
        if self.memory.conforms(entry) {
            self.memory.put_if(key.to_key(), self.own(entry), || self.removals() == removals);
        }
    }

    /// Removes an entry. Once before the store behind removes it, and once after that: in between it may be fetched.
    pub(crate) fn remove(&self, key: &Key) {
        self.removing();
        drop(self.memory.remove(key));
    }

    /// Removes what is a tenant's.
    pub(crate) fn forget<'a>(&'a self, tenant: &'a str) -> StoreFuture<'a, ()> {
        self.removing();
        self.memory.forget(tenant)
    }

    /// Removes everything.
    pub(crate) fn clear(&self) -> StoreFuture<'_, ()> {
        self.removing();
        self.memory.clear()
    }

    /// From now on nothing is put that was fetched before.
    fn removing(&self) {
        self.removals.fetch_add(1, Ordering::AcqRel);
    }

    /// The entry as memory holds it.
    fn own(&self, entry: &Entry) -> Arc<Entry> {
        let leaves_at = self.ttl.and_then(|ttl| self.clock.now().checked_add(ttl));
        Arc::new(entry.copy("memory", leaves_at))
    }
}
