//! Table that evicts by frequency of use, based on moka.
//!
//! moka drops evicted entries late, so an eviction listener frees their responses at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use foldhash::quality::RandomState;
use moka::{
    ops::compute::{CompResult, Op},
    policy::EvictionPolicy,
    sync::Cache,
};

use super::table::Table;
use crate::{Key, key::BorrowedKey, store::Entry};

/// Table that keeps the most frequently used entries.
pub(super) struct TinyLfu {
    entries: Cache<Key, Arc<Entry>, RandomState>,
    evictions: Arc<AtomicU64>,
}

impl TinyLfu {
    pub(super) fn new(max_bytes: u64) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let evicted = Arc::clone(&evictions);
        let entries = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_: &Key, entry: &Arc<Entry>| entry.bytes())
            .eviction_policy(EvictionPolicy::tiny_lfu())
            .eviction_listener(move |_, entry: Arc<Entry>, cause| {
                entry.evict();
                evicted.fetch_add(u64::from(cause.was_evicted()), Ordering::Relaxed);
            })
            .build_with_hasher(RandomState::default());
        Self { entries, evictions }
    }
}

impl Table for TinyLfu {
    fn get(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>> {
        self.entries.get(&key)
    }

    /// Adds an entry and completes pending evictions at once. moka alone would delay the evictions, and exceed its
    /// bound meanwhile.
    fn put_if(&self, key: Key, entry: Arc<Entry>, may: &dyn Fn(Option<&Entry>) -> bool) -> bool {
        let result = self.entries.entry(key).and_compute_with(|known| {
            if may(known.as_ref().map(|known| &**known.value())) { Op::Put(entry) } else { Op::Nop }
        });
        self.entries.run_pending_tasks();
        matches!(result, CompResult::Inserted(_) | CompResult::ReplacedWith(_))
    }

    fn remove_if(&self, key: BorrowedKey<'_>, may: &dyn Fn(&Entry) -> bool) {
        self.entries.entry(key.to_key()).and_compute_with(|known| match known {
            Some(known) if may(known.value()) => Op::Remove,
            _ => Op::Nop,
        });
    }

    fn remove_all_if(&self, may: &dyn Fn(&Key, &Entry) -> bool) {
        for (key, entry) in &self.entries {
            if may(&key, &entry) {
                self.entries.invalidate(&key.borrowed());
            }
        }
    }

    fn clear(&self) {
        self.entries.invalidate_all();
    }

    fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Completes pending evictions first, so that evicted entries do not count.
    fn size(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}
