use std::{
    any::Any,
    hash::BuildHasher,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use foldhash::quality::RandomState;
use llm_core::Facts;
use moka::{policy::EvictionPolicy, sync::Cache};
use serde::Serialize;

use crate::{
    Key,
    generations::{Moment, Tag},
    key::Lent,
};

/// The memory tier: typed answers, so that a hit decodes nothing; bounded in bytes; the least recently used goes first.
///
/// moka bounds the size alone. Whether an entry is fresh is told by the wall time in it.
pub(crate) struct Memory<H = RandomState> {
    entries: Cache<Key, Arc<Entry>, H>,
    max_bytes: u64,
}

pub(crate) struct Entry {
    /// Taken out when the entry is evicted: moka lets go of evicted entries late.
    answer: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
    pub(crate) facts: Facts,
    pub(crate) stored_at: SystemTime,
    pub(crate) fresh_until: Option<SystemTime>,
    pub(crate) source: Source,
    bytes: u32,
}

/// What an answer came of.
#[derive(Clone)]
pub(crate) struct Source {
    /// When its call began.
    pub(crate) begun: Moment,
    /// What it can be dropped by.
    pub(crate) tags: Arc<[Tag]>,
}

/// What an entry takes beside its key and its answer's text, in bytes: the table's own nodes, the entry, the answer's
/// structs.
const ENTRY_BYTES: usize = 768;
/// What a tag takes beside its text, in bytes.
const TAG_BYTES: usize = 40;

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
            .eviction_listener(|_, entry: Arc<Entry>, _| drop(entry.take()))
            .build_with_hasher(hasher);
        Self { entries, max_bytes }
    }

    /// The entry under a key, however old.
    pub(crate) fn get(&self, key: Lent<'_>) -> Option<Arc<Entry>> {
        self.entries.get(&key)
    }

    /// Removes an entry.
    pub(crate) fn remove(&self, key: Lent<'_>) {
        self.entries.invalidate(&key);
    }

    /// Stores an answer, unless it is larger than the whole tier; tells whether it did. Makes room at once: moka would put
    /// that off, and hold more than it may meanwhile.
    pub(crate) fn put(&self, key: Key, entry: Entry) -> bool {
        let fits = u64::from(entry.bytes) <= self.max_bytes;
        if fits {
            self.entries.insert(key, Arc::new(entry));
            self.entries.run_pending_tasks();
        }
        fits
    }

    /// Entries and the bytes they count for. moka settles evictions behind calls; this settles them first.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }

    /// Removes every entry of which this is said. It looks at all of them.
    pub(crate) fn remove_if(&self, gone: impl Fn(&Key, &Entry) -> bool) {
        for (key, entry) in &self.entries {
            if gone(&key, &entry) {
                self.entries.invalidate(&key.lent());
            }
        }
    }

    pub(crate) fn clear(&self) {
        self.entries.invalidate_all();
    }
}

impl Entry {
    /// An answer that was complete at `now`, fresh until `fresh_until`. `weight` is what it takes in memory, where that is
    /// known. `None` if it cannot be serialized, and so not weighed.
    pub(crate) fn new<C: Serialize + Send + Sync + 'static>(
        key: &Key,
        answer: Arc<C>,
        weight: Option<u64>,
        facts: Facts,
        (now, fresh_until): (SystemTime, Option<SystemTime>),
        source: Source,
    ) -> Option<Self> {
        let tags: usize = source.tags.iter().map(|tag| TAG_BYTES + tag.len()).sum();
        let around = (ENTRY_BYTES + key.as_bytes().len() + tags) as u64;
        let bytes = around.saturating_add(weight.or_else(|| weigh(&*answer))?);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let answer: Arc<dyn Any + Send + Sync> = answer;
        Some(Self { answer: Mutex::new(Some(answer)), facts, stored_at: now, fresh_until, source, bytes })
    }

    /// The answer, if it is of this type, and has not just been evicted.
    pub(crate) fn answer<C: Send + Sync + 'static>(&self) -> Option<Arc<C>> {
        self.lock().as_ref().map(Arc::clone)?.downcast().ok()
    }

    fn take(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn Any + Send + Sync>>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.into()
    }

    /// How long ago it was stored.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.stored_at).unwrap_or_default()
    }
}

/// What an answer takes in memory, at a guess that is rather too high: its JSON text, and what a tree of its values would
/// take beside that.
fn weigh(answer: &impl Serialize) -> Option<u64> {
    let mut weight = Weight::default();
    serde_json::to_writer(&mut weight, answer).ok()?;
    Some(weight.bytes)
}

/// Reads JSON text as it is written.
#[derive(Default)]
struct Weight {
    bytes: u64,
    in_text: bool,
    escaped: bool,
}

/// What a value in a list takes beside its text, in bytes.
const VALUE_BYTES: u64 = 32;
/// What a field of an object takes beside its text, in bytes: a name on the heap and a place in a tree.
const FIELD_BYTES: u64 = 224;

impl Weight {
    fn byte(&mut self, byte: u8) -> u64 {
        if self.in_text {
            let ends = byte == b'"' && !self.escaped;
            self.escaped = byte == b'\\' && !self.escaped;
            self.in_text = !ends;
            return 1;
        }
        match byte {
            b'"' => self.in_text = true,
            b',' | b'[' => return 1 + VALUE_BYTES,
            b':' => return 1 + FIELD_BYTES,
            _ => {}
        }
        1
    }
}

impl io::Write for Weight {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.iter().map(|byte| self.byte(*byte)).sum::<u64>();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasherDefault, Hasher};

    const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

    fn entry(key: &Key, text: &str) -> Entry {
        Entry::new(key, Arc::new(text.to_owned()), None, Facts::default(), (EPOCH, None), source()).unwrap()
    }

    fn source() -> Source {
        Source { begun: Moment::default(), tags: Arc::default() }
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
            memory.put(key(n), entry(&key(n), &n.to_string()));
        }
        for n in 0..50 {
            let found = memory.get(key(n).lent()).unwrap();
            assert_eq!(*found.answer::<String>().unwrap(), n.to_string());
        }
        assert!(memory.get(key(50).lent()).is_none());
    }

    #[test]
    fn is_bounded_in_bytes_not_entries() {
        let memory = Memory::new(100_000);
        for n in 0..256 {
            memory.put(key(n), entry(&key(n), &"x".repeat(10_000)));
        }
        let (entries, bytes) = memory.size();
        assert!(entries <= 9 && bytes <= 100_000, "{entries} entries, {bytes} bytes");
        memory.put(key(999), entry(&key(999), &"x".repeat(200_000)));
        assert!(memory.get(key(999).lent()).is_none(), "larger than the whole tier");
        assert_eq!(memory.size().0, entries, "and it evicts nothing");
    }

    #[test]
    fn fresh_keys_find_room_in_a_warm_full_cache() {
        let memory = Memory::new(200 * 1_000);
        let put = |n| memory.put(key(n), entry(&key(n), &"x".repeat(100)));
        for round in 0..5 {
            for n in 0..100 {
                put(n);
                let _ = memory.get(key(n).lent());
            }
            let _ = (round, memory.size());
        }
        for n in 1_000..1_020 {
            put(n);
        }
        let _ = memory.size();
        let kept = (1_000..1_020).filter(|n| memory.get(key(*n).lent()).is_some()).count();
        assert_eq!(kept, 20, "a cache that admits by frequency keeps none of these");
    }
}
