use std::{
    any::Any,
    hash::BuildHasher,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use foldhash::quality::RandomState;
use llm_core::Facts;
use moka::{policy::EvictionPolicy, sync::Cache};
use serde::Serialize;

use crate::Key;

/// The memory tier: typed answers, so that a hit decodes nothing; bounded in bytes; the least recently used goes first.
///
/// moka bounds the size alone. Whether an entry is fresh is told by the wall time in it.
pub(crate) struct Memory<H = RandomState> {
    entries: Cache<Key, Arc<Entry>, H>,
    max_bytes: u64,
}

pub(crate) struct Entry {
    answer: Arc<dyn Any + Send + Sync>,
    pub(crate) facts: Facts,
    pub(crate) stored_at: SystemTime,
    expires_at: Option<SystemTime>,
    bytes: u32,
}

/// What an entry takes beside its key and its answer's text, in bytes: the table's own nodes, the entry, the answer's
/// structs.
const ENTRY_BYTES: usize = 768;

impl Memory {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self::with_hasher(max_bytes, RandomState::default())
    }
}

impl<H: BuildHasher + Clone + Send + Sync + 'static> Memory<H> {
    fn with_hasher(max_bytes: u64, hasher: H) -> Self {
        let entries = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_: &Key, entry: &Arc<Entry>| entry.bytes)
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(hasher);
        Self { entries, max_bytes }
    }

    /// The fresh entry under a key. One that is past its time is removed.
    pub(crate) fn get(&self, key: &[u8], now: SystemTime) -> Option<Arc<Entry>> {
        let entry = self.entries.get(key)?;
        if entry.expires_at.is_some_and(|at| at <= now) {
            self.entries.invalidate(key);
            return None;
        }
        Some(entry)
    }

    /// Stores an answer, unless it is larger than the whole tier.
    pub(crate) fn put(&self, key: Key, entry: Entry) {
        if u64::from(entry.bytes) <= self.max_bytes {
            self.entries.insert(key, Arc::new(entry));
        }
    }

    /// Entries and the bytes they count for. moka settles evictions behind calls; this settles them first.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    pub(crate) fn clear(&self) {
        self.entries.invalidate_all();
    }
}

impl Entry {
    /// An answer that was complete at `now`. `None` if it cannot be serialized, and so not weighed.
    pub(crate) fn new<C: Serialize + Send + Sync + 'static>(
        key: &Key,
        answer: Arc<C>,
        facts: Facts,
        now: SystemTime,
        ttl: Option<Duration>,
    ) -> Option<Self> {
        let bytes = ENTRY_BYTES + key.as_bytes().len() + json_bytes(&*answer)?;
        Some(Self {
            answer,
            facts,
            stored_at: now,
            expires_at: ttl.and_then(|ttl| now.checked_add(ttl)),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        })
    }

    /// The answer, if it is of this type.
    pub(crate) fn answer<C: Send + Sync + 'static>(&self) -> Option<Arc<C>> {
        Arc::clone(&self.answer).downcast().ok()
    }

    /// How long ago it was stored.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.stored_at).unwrap_or_default()
    }
}

/// The length of the JSON text: a measure of an answer's size that every answer has.
fn json_bytes(answer: &impl Serialize) -> Option<usize> {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, answer).ok()?;
    Some(count.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasherDefault, Hasher};

    const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

    fn entry(key: &Key, text: &str, ttl: Option<Duration>) -> Entry {
        Entry::new(key, Arc::new(text.to_owned()), Facts::default(), EPOCH, ttl).unwrap()
    }

    fn key(n: u32) -> Key {
        Key::of("ns", "t", "op", &n).unwrap()
    }

    /// Gives every key the same hash.
    #[derive(Default)]
    struct Worst;

    impl Hasher for Worst {
        fn finish(&self) -> u64 {
            7
        }
        fn write(&mut self, _: &[u8]) {}
    }

    #[test]
    fn colliding_hashes_never_mix_answers() {
        let memory = Memory::with_hasher(1 << 20, BuildHasherDefault::<Worst>::default());
        for n in 0..50 {
            memory.put(key(n), entry(&key(n), &n.to_string(), None));
        }
        for n in 0..50 {
            let found = memory.get(key(n).as_bytes(), EPOCH).unwrap();
            assert_eq!(*found.answer::<String>().unwrap(), n.to_string());
        }
        assert!(memory.get(key(50).as_bytes(), EPOCH).is_none());
    }

    #[test]
    fn is_bounded_in_bytes_not_entries() {
        let memory = Memory::new(100_000);
        for n in 0..256 {
            memory.put(key(n), entry(&key(n), &"x".repeat(10_000), None));
        }
        let (entries, bytes) = memory.size();
        assert!(entries <= 9 && bytes <= 100_000, "{entries} entries, {bytes} bytes");
        memory.put(key(999), entry(&key(999), &"x".repeat(200_000), None));
        assert!(memory.get(key(999).as_bytes(), EPOCH).is_none(), "larger than the whole tier");
        assert_eq!(memory.size().0, entries, "and it evicts nothing");
    }

    #[test]
    fn fresh_keys_find_room_in_a_warm_full_cache() {
        let memory = Memory::new(200 * 1_000);
        let put = |n| memory.put(key(n), entry(&key(n), &"x".repeat(100), None));
        for round in 0..5 {
            for n in 0..100 {
                put(n);
                let _ = memory.get(key(n).as_bytes(), EPOCH);
            }
            let _ = (round, memory.size());
        }
        for n in 1_000..1_020 {
            put(n);
        }
        let _ = memory.size();
        let kept = (1_000..1_020).filter(|n| memory.get(key(*n).as_bytes(), EPOCH).is_some()).count();
        assert_eq!(kept, 20, "a cache that admits by frequency keeps none of these");
    }

    #[test]
    fn time_decides_what_is_fresh() {
        let memory = Memory::new(1 << 20);
        memory.put(key(1), entry(&key(1), "x", Some(Duration::from_secs(10))));
        assert!(memory.get(key(1).as_bytes(), EPOCH + Duration::from_nanos(9_999_999_999)).is_some());
        assert!(memory.get(key(1).as_bytes(), EPOCH + Duration::from_secs(10)).is_none());
        assert!(memory.get(key(1).as_bytes(), EPOCH).is_none(), "what was stale is gone for good");
    }
}
