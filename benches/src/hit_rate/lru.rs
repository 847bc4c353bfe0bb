use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::Asked;

/// Naive LRU cache with a time to live, written without the library, to check the real layer against.
///
/// As in the layer, an expired answer occupies its room until it is evicted or its question is asked.
#[derive(Clone, Debug, Default)]
pub struct Naive {
    capacity: usize,
    ttl: Option<Duration>,
    /// Time of storing, and the number of the last use, by key.
    held: HashMap<(u8, u32), (Duration, u64)>,
    /// Keys by the number of their last use.
    used: BTreeMap<u64, (u8, u32)>,
    clock: u64,
}

impl Naive {
    /// Creates a cache with room for `capacity` answers, which expire after `ttl`.
    pub fn new(capacity: usize, ttl: Option<Duration>) -> Self {
        Self { capacity, ttl, ..Self::default() }
    }

    /// Asks a question, and returns `true` if its answer was in the cache. If not, the answer is stored.
    pub fn ask(&mut self, asked: &Asked) -> bool {
        let key = asked.key();
        self.clock += 1;
        let known = self.held.remove(&key);
        if let Some((_, last)) = known {
            self.used.remove(&last);
        }
        let fresh = known.filter(|(stored, _)| self.ttl.is_none_or(|ttl| asked.at < *stored + ttl));
        let stored = fresh.map_or(asked.at, |(stored, _)| stored);
        self.held.insert(key, (stored, self.clock));
        self.used.insert(self.clock, key);
        if self.held.len() > self.capacity {
            let (_, oldest) = self.used.pop_first().expect("every key has a last use");
            self.held.remove(&oldest);
        }
        fresh.is_some()
    }

    /// Returns the number of these questions that the cache answers.
    pub fn hits(mut self, asked: &[Asked]) -> u64 {
        asked.iter().filter(|asked| self.ask(asked)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(series: &[(u64, u32)]) -> Vec<Asked> {
        series.iter().map(|&(at, question)| Asked { at: Duration::from_secs(at), tenant: 0, question }).collect()
    }

    #[test]
    fn lru_evicts_least_recently_used_first() {
        let series = asked(&[(0, 1), (0, 2), (0, 1), (0, 3), (0, 1), (0, 2)]);
        let mut naive = Naive::new(2, None);
        let hits: Vec<bool> = series.iter().map(|asked| naive.ask(asked)).collect();
        assert_eq!(hits, [false, false, true, false, true, false]);
    }

    #[test]
    fn lru_ttl_is_not_extended_by_use() {
        let ttl = Some(Duration::from_secs(10));
        let series = asked(&[(0, 1), (9, 1), (10, 1), (19, 1), (20, 1)]);
        let mut naive = Naive::new(9, ttl);
        let hits: Vec<bool> = series.iter().map(|asked| naive.ask(asked)).collect();
        assert_eq!(hits, [false, true, false, true, false]);
    }

    #[test]
    fn tenants_share_nothing() {
        let one = Asked { at: Duration::ZERO, tenant: 0, question: 1 };
        assert_eq!(Naive::new(9, None).hits(&[one, Asked { tenant: 1, ..one }, one]), 1);
    }
}
