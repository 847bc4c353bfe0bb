use std::{
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::quality::RandomState;
use moka::{
    ops::compute::{CompResult, Op},
    policy::EvictionPolicy,
    sync::Cache,
};

use super::{Census, Entry, Far, Policy, Store, at_once};
use crate::{Key, Tag, key::Lent};

/// The memory tier: typed answers, so that a hit decodes nothing; bounded in bytes.
///
/// moka bounds the size alone. Whether an entry is fresh is told by the wall time in it.
pub(crate) struct Memory<H = RandomState> {
    entries: Cache<Key, Arc<Entry>, H>,
    max_bytes: u64,
    evictions: Arc<AtomicU64>,
}

impl Memory {
    pub(crate) fn new(max_bytes: u64, policy: Policy) -> Self {
        Self::with_hasher(max_bytes, policy, RandomState::default())
    }
}

impl<H: BuildHasher + Clone + Send + Sync + 'static> Memory<H> {
    fn with_hasher(max_bytes: u64, policy: Policy, hasher: H) -> Self {
        let policy = match policy {
            Policy::Lru => EvictionPolicy::lru(),
            Policy::TinyLfu => EvictionPolicy::tiny_lfu(),
        };
        let evictions = Arc::new(AtomicU64::new(0));
        let evicted = Arc::clone(&evictions);
        let entries = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_: &Key, entry: &Arc<Entry>| entry.bytes())
            .eviction_policy(policy)
            .eviction_listener(move |_, entry: Arc<Entry>, cause| {
                entry.evict();
                evicted.fetch_add(u64::from(cause.was_evicted()), Ordering::Relaxed);
            })
            .build_with_hasher(hasher);
        Self { entries, max_bytes, evictions }
    }

    /// Puts an entry that fits, unless there is one whose call began later, or it may not be put after all. Tells whether
    /// it did.
    pub(crate) fn put_if(&self, key: Key, entry: Arc<Entry>, may: impl FnOnce() -> bool) -> bool {
        let result = self.entries.entry(key).and_compute_with(|known| match known {
            // Whoever removes this key is before all of this or after it.
            _ if !may() => Op::Nop,
            Some(known) if known.value().source.begun > entry.source.begun => Op::Nop,
            _ => Op::Put(entry),
        });
        self.entries.run_pending_tasks();
        matches!(result, CompResult::Inserted(_) | CompResult::ReplacedWith(_))
    }

    /// Whether an entry is smaller than the whole tier.
    pub(crate) fn conforms(&self, entry: &Entry) -> bool {
        u64::from(entry.bytes()) <= self.max_bytes
    }

    /// Removes every entry of which this is said. It looks at all of them.
    fn remove_if(&self, gone: impl Fn(&Key, &Entry) -> bool) {
        for (key, entry) in &self.entries {
            if gone(&key, &entry) {
                self.entries.invalidate(&key.lent());
            }
        }
    }
}

impl<H: BuildHasher + Clone + Send + Sync + 'static> Store for Memory<H> {
    fn peek(&self, key: Lent<'_>) -> Option<Arc<Entry>> {
        self.entries.get(&key)
    }

    fn max_entry_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// An answer larger than the whole tier is not stored. Makes room at once: moka would put that off, and hold more
    /// than it may meanwhile.
    fn put(&self, key: Key, entry: Arc<Entry>) -> bool {
        self.conforms(&entry) && self.put_if(key, entry, || true)
    }

    fn discard(&self, key: Lent<'_>, entry: &Entry) {
        self.entries.entry(key.to_key()).and_compute_with(|known| match known {
            Some(known) if known.value().source.begun <= entry.source.begun => Op::Remove,
            _ => Op::Nop,
        });
    }

    fn remove<'a>(&'a self, key: &'a Key) -> Far<'a, ()> {
        self.entries.entry(key.clone()).and_compute_with(|_| Op::Remove);
        at_once(())
    }

    fn forget<'a>(&'a self, tenant: &'a str) -> Far<'a, ()> {
        let tag = Tag::tenant(tenant);
        // What is shared has the tag of whoever bought it.
        let is_his = |key: &Key| key.scope().is_none() && key.tenant() == tenant;
        self.remove_if(|key, entry| is_his(key) || entry.source.tags.contains(&tag));
        at_once(())
    }

    fn clear(&self) -> Far<'_, ()> {
        self.entries.invalidate_all();
        at_once(())
    }

    fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// moka settles evictions behind calls; this settles them first.
    fn census(&self) -> Census {
        self.entries.run_pending_tasks();
        let (entries, bytes) = (self.entries.entry_count(), self.entries.weighted_size());
        Census { entries, bytes, ..Census::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        hash::{BuildHasherDefault, Hasher},
        time::SystemTime,
    };

    use llm_core::layer::Accounting;

    use super::*;
    use crate::{
        generations::Moment,
        store::{Life, Source},
    };

    fn entry(key: &Key, text: &str) -> Arc<Entry> {
        entry_of(key, text, Moment::default())
    }

    fn entry_of(key: &Key, text: &str, begun: Moment) -> Arc<Entry> {
        let life = Life { stored_at: SystemTime::UNIX_EPOCH, fresh_until: None };
        let source = Source { begun, tags: Arc::default() };
        let entry = Entry::new(key, Arc::new(text.to_owned()), None, Accounting::default(), life, source);
        Arc::new(entry.expect("text can be written"))
    }

    fn key(n: u32) -> Key {
        Key::of("ns", "t", "op", &n).expect("a number can be written")
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
        let memory = Memory::with_hasher(1 << 20, Policy::Lru, BuildHasherDefault::<Worst>::default());
        for n in 0..50 {
            memory.put(key(n), entry(&key(n), &n.to_string()));
        }
        for n in 0..50 {
            let found = memory.peek(key(n).lent()).unwrap();
            assert_eq!(*found.answer::<String>().unwrap(), n.to_string());
        }
        assert!(memory.peek(key(50).lent()).is_none());
    }

    #[test]
    fn a_call_that_began_earlier_replaces_nothing() {
        let (memory, generations) = (Memory::new(1 << 20, Policy::Lru), crate::generations::Generations::default());
        let [first, second] = [(); 2].map(|()| generations.moment(SystemTime::UNIX_EPOCH));
        let said = || memory.peek(key(1).lent()).and_then(|entry| entry.answer::<String>()).unwrap();
        for (begun, text, kept) in [(first, "a", true), (second, "b", true), (first, "late", false)] {
            assert_eq!(memory.put(key(1), entry_of(&key(1), text, begun)), kept, "{text}");
        }
        assert_eq!((&**said(), memory.census().entries), ("b", 1));
    }

    #[test]
    fn is_bounded_in_bytes_not_entries() {
        let memory = Memory::new(100_000, Policy::Lru);
        for n in 0..256 {
            memory.put(key(n), entry(&key(n), &"x".repeat(10_000)));
        }
        let Census { entries, bytes, .. } = memory.census();
        assert!(entries <= 9 && bytes <= 100_000, "{entries} entries, {bytes} bytes");
        memory.put(key(999), entry(&key(999), &"x".repeat(200_000)));
        assert!(memory.peek(key(999).lent()).is_none(), "larger than the whole tier");
        assert_eq!(memory.census().entries, entries, "and it evicts nothing");
    }

    #[test]
    fn fresh_keys_find_room_in_a_warm_full_cache_or_not_as_the_policy_says() {
        assert_eq!(fresh_keys_kept(Policy::Lru), 20);
        assert!(fresh_keys_kept(Policy::TinyLfu) < 20, "it admits by frequency");
    }

    fn fresh_keys_kept(policy: Policy) -> usize {
        let memory = Memory::new(100 * 1_000, policy);
        let put = |n| memory.put(key(n), entry(&key(n), &"x".repeat(100)));
        for round in 0..5 {
            for n in 0..100 {
                put(n);
                let _ = memory.peek(key(n).lent());
            }
            let _ = (round, memory.census());
        }
        for n in 1_000..1_020 {
            put(n);
        }
        let _ = memory.census();
        (1_000..1_020).filter(|n| memory.peek(key(*n).lent()).is_some()).count()
    }
}
