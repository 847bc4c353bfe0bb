//! Memory of the group that served a conversation last, whose vendor may have its beginning cached.

use std::{collections::HashMap, sync::Arc};

/// Groups by the hash of tenant, model and beginning. Two halves, the older of which is dropped when the newer is full.
#[derive(Debug, Default)]
pub(crate) struct Affinity {
    recent: HashMap<u64, Entry, foldhash::fast::FixedState>,
    older: HashMap<u64, Entry, foldhash::fast::FixedState>,
}

#[derive(Clone, Debug)]
struct Entry {
    group: Arc<str>,
    misses: u8,
}

/// Entries of one half.
const HALF: usize = 16_384;
/// Responses in a row without cached tokens after which a group is forgotten.
const MISSES: u8 = 2;

impl Affinity {
    /// Returns the group that served this beginning last.
    pub(crate) fn get(&mut self, key: u64) -> Option<&Arc<str>> {
        if !self.recent.contains_key(&key) {
            let entry = self.older.remove(&key)?;
            self.insert(key, entry);
        }
        self.recent.get(&key).map(|entry| &entry.group)
    }

    /// Records that a group served this beginning, and if the vendor read any of it from its cache.
    pub(crate) fn served(&mut self, key: u64, group: &Arc<str>, cached: bool) {
        let known = self.recent.get(&key).or_else(|| self.older.get(&key)).filter(|entry| entry.group == *group);
        let misses = match known {
            _ if cached => 0,
            Some(entry) => entry.misses + 1,
            // The first response writes the cache.
            None => 0,
        };
        self.older.remove(&key);
        if misses < MISSES {
            self.insert(key, Entry { group: Arc::clone(group), misses });
        } else {
            self.recent.remove(&key);
        }
    }

    fn insert(&mut self, key: u64, entry: Entry) {
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
        let (mut affinity, group) = (Affinity::default(), Arc::from("a"));
        for cached in [false, true, false] {
            affinity.served(7, &group, cached);
            assert_eq!(affinity.get(7), Some(&group));
        }
        affinity.served(7, &group, false);
        assert_eq!(affinity.get(7), None);
    }

    #[test]
    fn affinity_is_bounded_and_keeps_recent_entries() {
        let (mut affinity, group) = (Affinity::default(), Arc::from("a"));
        for key in 0..100_000 {
            affinity.served(key, &group, true);
            assert!(affinity.get(0).is_some(), "used all the time, at {key}");
        }
        assert!(affinity.recent.len() + affinity.older.len() <= 2 * HALF);
        assert!(affinity.get(99_999).is_some() && affinity.get(1_000).is_none());
    }
}
