//! Table of the group that last served each beginning of a prompt, because the group's vendor may have the beginning in
//! its prompt cache.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// Group that last served each beginning, by the hash of tenant and beginning and by the model. The table has two
/// halves. When the newer half is full, it replaces the older half, whose entries are dropped.
#[derive(Debug, Default)]
pub(crate) struct Affinity {
    recent: HashMap<Key, Entry, FixedState>,
    older: HashMap<Key, Entry, FixedState>,
}

type Key = (u64, u32);

#[derive(Clone, Copy, Debug)]
struct Entry {
    group: u32,
    misses: u8,
}

/// Number of entries in one half.
const HALF: usize = 16_384;
/// Number of consecutive responses without cached tokens, after the first response of a group, after which the table
/// forgets the group.
const MISSES: u8 = 2;

impl Affinity {
    /// Returns the group that last served a beginning, and moves its entry to the newer half.
    pub(crate) fn get(&mut self, key: Key) -> Option<u32> {
        if !self.recent.contains_key(&key) {
            let entry = self.older.remove(&key)?;
            self.insert(key, entry);
        }
        self.recent.get(&key).map(|entry| entry.group)
    }

    /// Records that a group served a beginning. `cached` is `true` if the vendor read tokens from its prompt cache.
    pub(crate) fn served(&mut self, key: Key, group: u32, cached: bool) {
        let known = self.recent.remove(&key).or_else(|| self.older.remove(&key));
        let misses = match known.filter(|entry| entry.group == group) {
            Some(entry) if !cached => entry.misses + 1,
            // The first response fills the vendor's cache, so its request cannot have cached tokens.
            _ => 0,
        };
        if misses < MISSES {
            self.insert(key, Entry { group, misses });
        }
    }

    fn insert(&mut self, key: Key, entry: Entry) {
        if self.recent.len() >= HALF {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinity_forgets_after_two_uncached_responses() {
        let mut affinity = Affinity::default();
        for cached in [false, true, false] {
            affinity.served((7, 0), 3, cached);
            assert_eq!(affinity.get((7, 0)), Some(3));
        }
        affinity.served((7, 0), 3, false);
        assert_eq!(affinity.get((7, 0)), None);
    }

    #[test]
    fn affinity_is_bounded_and_keeps_recent_entries() {
        let mut affinity = Affinity::default();
        for key in 0..100_000 {
            affinity.served((key, 0), 3, true);
            assert!(affinity.get((0, 0)).is_some(), "used all the time, at {key}");
        }
        assert!(affinity.recent.len() + affinity.older.len() <= 2 * HALF);
        assert!(affinity.get((99_999, 0)).is_some() && affinity.get((1_000, 0)).is_none());
    }
}
