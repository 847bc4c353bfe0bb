//! Store of entries in memory, in a table that the eviction policy selects.
//!
//! | policy | table |
//! |---|---|
//! | [`EvictionPolicy::Lru`] | [`lru`]: shards, each a list in the order of use behind a hash table |
//! | [`EvictionPolicy::TinyLfu`] | [`tiny_lfu`]: a moka cache |

mod lru;
mod table;
mod tiny_lfu;

use std::sync::Arc;

use self::{lru::Lru, table::Table, tiny_lfu::TinyLfu};
use super::{Entry, EvictionPolicy, Store, StoreFuture, StoreStats, store_trait::ready};
use crate::{Key, Tag, key::BorrowedKey};

/// Memory tier, bounded in bytes. It holds typed responses, so that a hit decodes nothing.
///
/// It evicts entries only because of their size. The cache decides the freshness of an entry by the times in the entry.
pub(crate) struct Memory {
    table: Box<dyn Table>,
    max_bytes: u64,
}

impl Memory {
    pub(crate) fn new(max_bytes: u64, policy: EvictionPolicy) -> Self {
        let table: Box<dyn Table> = match policy {
            EvictionPolicy::Lru => Box::new(Lru::new(max_bytes)),
            EvictionPolicy::TinyLfu => Box::new(TinyLfu::new(max_bytes)),
        };
        Self { table, max_bytes }
    }

    /// Adds an entry that [conforms](Self::conforms), unless `may` forbids it or there is an entry whose call began
    /// later. Returns `true` if it added the entry.
    pub(crate) fn put_if(&self, key: Key, entry: Arc<Entry>, may: impl Fn() -> bool) -> bool {
        let started_at = entry.provenance.started_at;
        // The table calls the closure while it holds the lock of the key, so that a removal of the key happens either
        // before or after the call.
        self.table
            .put_if(key, entry, &|known| may() && known.is_none_or(|known| known.provenance.started_at <= started_at))
    }

    /// Returns `true` if an entry is not larger than the capacity of the tier.
    pub(crate) fn conforms(&self, entry: &Entry) -> bool {
        u64::from(entry.bytes()) <= self.max_bytes
    }
}

impl Store for Memory {
    fn peek(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>> {
        self.table.get(key)
    }

    fn max_entry_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Adds an entry, unless it is larger than the capacity of the tier.
    fn put(&self, key: Key, entry: Arc<Entry>) -> bool {
        self.conforms(&entry) && self.put_if(key, entry, || true)
    }

    fn evict_unless_newer(&self, key: BorrowedKey<'_>, entry: &Entry) {
        self.table.remove_if(key, &|known| known.provenance.started_at <= entry.provenance.started_at);
    }

    fn remove<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, ()> {
        self.table.remove_if(key.borrowed(), &|_| true);
        ready(())
    }

    fn forget<'a>(&'a self, tenant: &'a str) -> StoreFuture<'a, ()> {
        let tag = Tag::tenant(tenant);
        let is_own = |key: &Key| key.scope().is_none() && key.tenant() == tenant;
        // A shared entry has the tag of the tenant that paid for it.
        self.table.remove_all_if(&|key, entry| is_own(key) || entry.provenance.tags.contains(&tag));
        ready(())
    }

    fn clear(&self) -> StoreFuture<'_, ()> {
        self.table.clear();
        ready(())
    }

    fn evictions(&self) -> u64 {
        self.table.evictions()
    }

    fn stats(&self) -> StoreStats {
        let (entries, bytes) = self.table.size();
        StoreStats { entries, bytes, ..StoreStats::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use llm_core::layer::Accounting;

    use super::*;
    use crate::{
        policy::Timestamp,
        store::{Expiry, Provenance},
    };

    fn entry(key: &Key, text: &str) -> Arc<Entry> {
        entry_of(key, text, Timestamp::default())
    }

    fn entry_of(key: &Key, text: &str, started_at: Timestamp) -> Arc<Entry> {
        let expiry = Expiry { stored_at: SystemTime::UNIX_EPOCH, fresh_until: None };
        let provenance = Provenance { started_at, tags: Arc::default() };
        let entry = Entry::new(key, Arc::new(text.to_owned()), None, Accounting::default(), expiry, provenance);
        Arc::new(entry.expect("text can be written"))
    }

    fn key(n: u32) -> Key {
        Key::of("ns", "t", "op", &n).expect("a number can be written")
    }

    const POLICIES: [EvictionPolicy; 2] = [EvictionPolicy::Lru, EvictionPolicy::TinyLfu];

    #[test]
    fn memory_keeps_entries_of_colliding_hashes_apart() {
        for memory in POLICIES.map(|policy| Memory::new(1 << 20, policy)) {
            let key = |n| key(n).with_hash(7);
            for n in 0..50 {
                memory.put(key(n), entry(&key(n), &n.to_string()));
            }
            for n in 0..50 {
                let found = memory.peek(key(n).borrowed()).unwrap();
                assert_eq!(*found.response::<String>().unwrap(), n.to_string());
            }
            assert!(memory.peek(key(50).borrowed()).is_none());
        }
    }

    /// Compares the table with a list in the order of use: both hold the same entries and bytes after each step.
    #[test]
    fn policy_lru_matches_list_by_use() {
        let (memory, mut list) = (Memory::new(30_000, EvictionPolicy::Lru), Vec::<(u32, u32)>::new());
        let mut seed = 7_u32;
        for _ in 0..5_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (n, size) = (seed >> 8 & 31, seed >> 16 & 4_095);
            let known = list.iter().position(|(known, _)| *known == n);
            match seed >> 29 {
                0..4 => {
                    assert_eq!(memory.peek(key(n).borrowed()).is_some(), known.is_some());
                    if let Some(at) = known {
                        let used = list.remove(at);
                        list.push(used);
                    }
                }
                4 => {
                    drop(memory.remove(&key(n)));
                    known.map(|at| list.remove(at));
                }
                _ => {
                    let entry = entry(&key(n), &"x".repeat(size as usize));
                    known.map(|at| list.remove(at));
                    list.push((n, entry.bytes()));
                    assert!(memory.put(key(n), entry));
                    while list.iter().map(|(_, bytes)| bytes).sum::<u32>() > 30_000 {
                        list.remove(0);
                    }
                }
            }
            let bytes = list.iter().map(|(_, bytes)| u64::from(*bytes)).sum::<u64>();
            let StoreStats { entries, bytes: counted, .. } = memory.stats();
            assert_eq!((entries, counted), (list.len() as u64, bytes));
        }
        assert!(memory.evictions() > 100);
    }

    #[test]
    fn memory_counts_exactly_across_threads() {
        for memory in POLICIES.map(|policy| Memory::new(60_000, policy)) {
            std::thread::scope(|scope| {
                for thread in 0..4_u32 {
                    let memory = &memory;
                    scope.spawn(move || {
                        for n in 0..500_u32 {
                            let key = key((n * 7 + thread) % 97);
                            memory.put(key.clone(), entry(&key, &"x".repeat((n % 50) as usize * 40)));
                            match n % 10 {
                                0 => drop(memory.remove(&key)),
                                _ => drop(memory.peek(key.borrowed())),
                            }
                        }
                    });
                }
            });
            let StoreStats { entries, bytes, .. } = memory.stats();
            assert!(bytes <= 60_000 && entries > 10, "{entries} entries, {bytes} bytes");
            drop(memory.clear());
            let StoreStats { entries, bytes, .. } = memory.stats();
            assert_eq!((entries, bytes), (0, 0));
        }
    }

    #[test]
    fn memory_put_of_earlier_call_replaces_nothing() {
        let (memory, epochs) =
            (Memory::new(1 << 20, EvictionPolicy::Lru), crate::policy::InvalidationEpochs::default());
        let [first, second] = [(); 2].map(|()| epochs.timestamp(SystemTime::UNIX_EPOCH));
        let said = || memory.peek(key(1).borrowed()).and_then(|entry| entry.response::<String>()).unwrap();
        for (started_at, text, is_stored) in [(first, "a", true), (second, "b", true), (first, "late", false)] {
            assert_eq!(memory.put(key(1), entry_of(&key(1), text, started_at)), is_stored, "{text}");
        }
        assert_eq!((&**said(), memory.stats().entries), ("b", 1));
    }

    #[test]
    fn max_bytes_bounds_bytes_and_not_entries() {
        let memory = Memory::new(100_000, EvictionPolicy::Lru);
        for n in 0..256 {
            memory.put(key(n), entry(&key(n), &"x".repeat(10_000)));
        }
        let StoreStats { entries, bytes, .. } = memory.stats();
        assert!(entries <= 9 && bytes <= 100_000, "{entries} entries, {bytes} bytes");
        memory.put(key(999), entry(&key(999), &"x".repeat(200_000)));
        assert!(memory.peek(key(999).borrowed()).is_none(), "larger than the whole tier");
        assert_eq!(memory.stats().entries, entries, "and it evicts nothing");
    }

    #[test]
    fn policy_decides_whether_full_memory_admits_keys() {
        assert_eq!(fresh_keys_kept(EvictionPolicy::Lru), 20);
        assert!(fresh_keys_kept(EvictionPolicy::TinyLfu) < 20, "it admits by frequency");
    }

    fn fresh_keys_kept(policy: EvictionPolicy) -> usize {
        let memory = Memory::new(100 * 1_000, policy);
        let put = |n| memory.put(key(n), entry(&key(n), &"x".repeat(100)));
        for round in 0..5 {
            for n in 0..100 {
                put(n);
                let _ = memory.peek(key(n).borrowed());
            }
            let _ = (round, memory.stats());
        }
        for n in 1_000..1_020 {
            put(n);
        }
        let _ = memory.stats();
        (1_000..1_020).filter(|n| memory.peek(key(*n).borrowed()).is_some()).count()
    }
}
