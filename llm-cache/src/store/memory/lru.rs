//! Table that evicts the least recently used entry.
//!
//! It has shards, each with a lock. A `put` evicts entries before it returns, and frees evicted responses outside of
//! the lock.

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use equivalent::Equivalent;
use hashlink::{LinkedHashMap, linked_hash_map::RawEntryMut};
use smallvec::SmallVec;

use super::table::Table;
use crate::{Key, key::BorrowedKey, store::Entry};

/// Table that evicts the least recently used entry first.
///
/// It is sharded by the keys' hashes, so that hits rarely wait for one another. Eviction follows the order of use in
/// the whole table: each shard publishes the tick at which its oldest slot was used, and the oldest slot of all shards
/// is evicted first.
pub(super) struct Lru {
    shards: [Shard; SHARDS],
    max_bytes: u64,
    bytes: AtomicU64,
    ticks: AtomicU64,
    evictions: AtomicU64,
    /// Lock that is held while entries are evicted, so that two callers do not evict more than needed.
    evicting: Mutex<()>,
}

/// Number of shards, a power of two.
const SHARDS: usize = 16;

/// Shard of the table. Its alignment keeps it from sharing a cache line with other shards.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    slots: Mutex<Slots>,
    /// Tick of the shard's oldest slot, or [`EMPTY`]. It is changed only under the shard's lock.
    oldest: AtomicU64,
}

/// Tick of a shard without slots.
const EMPTY: u64 = u64::MAX;

/// Slots in the order of their use, the least recently used first.
type Slots = LinkedHashMap<Key, Slot, BuildHasherDefault<CarriedHash>>;

struct Slot {
    entry: Arc<Entry>,
    /// Tick of the last use of the slot.
    used: u64,
}

impl Lru {
    pub(super) fn new(max_bytes: u64) -> Self {
        let shards = std::array::from_fn(|_| Shard { oldest: AtomicU64::new(EMPTY), ..Shard::default() });
        let [bytes, ticks, evictions] = [const { AtomicU64::new(0) }; 3];
        Self { shards, max_bytes, bytes, ticks, evictions, evicting: Mutex::default() }
    }

    /// Returns the shard of a hash. Other bits of the hash select the slot within the shard.
    fn shard(&self, hash: u64) -> &Shard {
        let at = usize::try_from((hash >> 32) % SHARDS as u64).unwrap_or_default();
        &self.shards[at]
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::Relaxed)
    }

    fn count(&self, added: &Entry) {
        self.bytes.fetch_add(added.bytes().into(), Ordering::Relaxed);
    }

    fn discount(&self, removed: &Entry) {
        self.bytes.fetch_sub(removed.bytes().into(), Ordering::Relaxed);
    }

    /// Evicts the least recently used entries until the table is within its bound.
    fn make_room(&self) {
        if self.bytes.load(Ordering::Relaxed) <= self.max_bytes {
            return;
        }
        // Evicted entries are dropped after the locks are released, because dropping a response may call this table
        // again.
        let mut dropped = SmallVec::<[_; 1]>::new();
        let alone = self.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        while self.bytes.load(Ordering::Relaxed) > self.max_bytes {
            let oldest = self.shards.iter().min_by_key(|shard| shard.oldest.load(Ordering::Relaxed));
            let Some(shard) = oldest else { break };
            let mut slots = shard.lock();
            let evicted = slots.pop_front();
            evicted.iter().for_each(|(_, slot)| self.discount(&slot.entry));
            shard.publish(&slots);
            self.evictions.fetch_add(u64::from(evicted.is_some()), Ordering::Relaxed);
            dropped.extend(evicted);
        }
        drop(alone);
    }
}

impl Table for Lru {
    fn get(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>> {
        let shard = self.shard(key.hash());
        let mut slots = shard.lock();
        let RawEntryMut::Occupied(mut found) = find(&mut slots, key) else { return None };
        found.to_back();
        let slot = found.get_mut();
        let entry = Arc::clone(&slot.entry);
        let used = std::mem::replace(&mut slot.used, self.tick());
        if used == shard.oldest.load(Ordering::Relaxed) {
            shard.publish(&slots);
        }
        Some(entry)
    }

    fn put_if(&self, key: Key, entry: Arc<Entry>, may: &dyn Fn(Option<&Entry>) -> bool) -> bool {
        let shard = self.shard(key.borrowed().hash());
        // The replaced entry is dropped after the shard is unlocked.
        let _replaced = {
            let mut slots = shard.lock();
            let mut found = find(&mut slots, key.borrowed());
            let known = match &mut found {
                RawEntryMut::Occupied(known) => Some(&*known.get().entry),
                RawEntryMut::Vacant(_) => None,
            };
            if !may(known) {
                return false;
            }
            self.count(&entry);
            let slot = Slot { entry, used: self.tick() };
            let replaced = match found {
                RawEntryMut::Occupied(mut known) => {
                    known.to_back();
                    Some(known.replace_value(slot))
                }
                RawEntryMut::Vacant(vacant) => {
                    vacant.insert_hashed_nocheck(key.borrowed().hash(), key, slot);
                    None
                }
            };
            replaced.iter().for_each(|slot| self.discount(&slot.entry));
            shard.publish(&slots);
            replaced
        };
        self.make_room();
        true
    }

    fn remove_if(&self, key: BorrowedKey<'_>, may: &dyn Fn(&Entry) -> bool) {
        let shard = self.shard(key.hash());
        let _removed = {
            let mut slots = shard.lock();
            let RawEntryMut::Occupied(known) = find(&mut slots, key) else { return };
            if !may(&known.get().entry) {
                return;
            }
            let removed = known.remove();
            self.discount(&removed.entry);
            shard.publish(&slots);
            removed
        };
    }

    fn remove_all_if(&self, may: &dyn Fn(&Key, &Entry) -> bool) {
        for shard in &self.shards {
            // Dropped outside the lock, because dropping a response may call into this table again.
            let mut removed = Vec::new();
            let mut slots = shard.lock();
            slots.retain(|key, slot| {
                let stays = !may(key, &slot.entry);
                if !stays {
                    self.discount(&slot.entry);
                    removed.push(Arc::clone(&slot.entry));
                }
                stays
            });
            shard.publish(&slots);
            drop(slots);
        }
    }

    fn clear(&self) {
        for shard in &self.shards {
            let mut slots = shard.lock();
            let removed = std::mem::take(&mut *slots);
            removed.values().for_each(|slot| self.discount(&slot.entry));
            shard.publish(&slots);
            drop(slots);
        }
    }

    fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    fn size(&self) -> (u64, u64) {
        let entries: usize = self.shards.iter().map(|shard| shard.lock().len()).sum();
        (entries as u64, self.bytes.load(Ordering::Relaxed))
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, slots: &Slots) {
        let oldest = slots.front().map_or(EMPTY, |(_, slot)| slot.used);
        self.oldest.store(oldest, Ordering::Relaxed);
    }
}

fn find<'a>(slots: &'a mut Slots, key: BorrowedKey<'_>) -> RawEntryMut<'a, Key, Slot, BuildHasherDefault<CarriedHash>> {
    slots.raw_entry_mut().from_hash(key.hash(), |known| key.equivalent(known))
}

/// Hasher that returns the hash which a key contains.
#[derive(Default)]
struct CarriedHash(u64);

impl Hasher for CarriedHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// Never called, because a key writes a single integer.
    fn write(&mut self, _: &[u8]) {}
}
