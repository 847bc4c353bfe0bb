//! Two tiers as one store: memory in front of a file.
//!
//! Entries are stored in both tiers and looked up in the local one first. Statistics, listings and invalidations are
//! those of the file, because it holds all entries.

use std::sync::Arc;

use super::{Cursor, Entry, LocalTier, Name, Page, Record, Store, StoreFuture, StoreStats};
use crate::{Key, Tag, key::BorrowedKey, policy::Timestamp};

/// Store of two tiers: typed responses in memory, in front of a store that holds all entries.
pub(crate) struct Tiered {
    local: LocalTier,
    remote: Arc<dyn Store>,
}

impl Tiered {
    pub(crate) fn new(local: LocalTier, remote: Arc<dyn Store>) -> Self {
        Self { local, remote }
    }
}

impl Store for Tiered {
    fn peek(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>> {
        self.local.peek(key)
    }

    fn has_remote_tier(&self) -> bool {
        true
    }

    fn fetch<'a>(&'a self, keys: &'a [Key]) -> StoreFuture<'a, Vec<Option<Arc<Entry>>>> {
        // The lookup in the local tier has not seen the pending writes of the remote store.
        let pending: Vec<_> = keys.iter().map(|key| self.remote.peek(key.borrowed())).collect();
        if pending.iter().all(Option::is_some) {
            return super::store_trait::ready(pending);
        }
        Box::pin(async move {
            let missing: Vec<Key> =
                keys.iter().zip(&pending).filter(|(_, entry)| entry.is_none()).map(|(key, _)| key.clone()).collect();
            let mut fetched = self.remote.fetch(&missing).await?.into_iter();
            Ok(pending.into_iter().map(|entry| entry.or_else(|| fetched.next().flatten())).collect())
        })
    }

    fn removals(&self) -> u64 {
        self.local.removals()
    }

    fn fill(&self, key: BorrowedKey<'_>, entry: &Entry, removals: u64) {
        self.local.fill(key, entry, removals);
    }

    fn put(&self, key: Key, entry: Arc<Entry>) -> bool {
        let is_stored = self.local.put(key.clone(), &entry);
        self.remote.put(key, entry) || is_stored
    }

    fn evict_unless_newer(&self, key: BorrowedKey<'_>, entry: &Entry) {
        self.local.memory.evict_unless_newer(key, entry);
        self.remote.evict_unless_newer(key, entry);
    }

    fn remove<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, ()> {
        self.local.remove(key);
        Box::pin(async move {
            let removed = self.remote.remove(key).await;
            self.local.remove(key);
            removed
        })
    }

    fn invalidate(&self, tag: Option<&Tag>, at: Timestamp) -> StoreFuture<'_, ()> {
        self.remote.invalidate(tag, at)
    }

    fn latest(&self) -> Timestamp {
        self.remote.latest()
    }

    fn forget<'a>(&'a self, tenant: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.local.forget(tenant).await?;
            self.remote.forget(tenant).await
        })
    }

    fn clear(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.local.clear().await?;
            self.remote.clear().await
        })
    }

    /// Returns the statistics of the remote store, which has all entries.
    fn stats(&self) -> StoreStats {
        self.remote.stats()
    }

    fn evictions(&self) -> u64 {
        self.local.memory.evictions() + self.remote.evictions()
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        self.remote.close()
    }

    fn scan(&self, after: Option<Cursor>, most: usize) -> StoreFuture<'_, Page> {
        self.remote.scan(after, most)
    }

    fn write_records(&self, records: Vec<Record>) -> StoreFuture<'_, u64> {
        self.remote.write_records(records)
    }

    fn remove_named(&self, names: Vec<Name>) -> StoreFuture<'_, u64> {
        self.remote.remove_named(names)
    }
}
