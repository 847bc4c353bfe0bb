use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::Asked;

/// The least recently used goes first, and nothing lives longer than its time: counted without the library, to hold the
/// real layer against.
///
/// An expired answer takes its room until a caller asks for it or it is evicted, as in the layer.
#[derive(Clone, Debug, Default)]
pub struct Naive {
    capacity: usize,
    ttl: Option<Duration>,
    /// When it was stored, and the last use, by key.
    held: HashMap<(u8, u32), (Duration, u64)>,
    /// The keys by their last use.
    used: BTreeMap<u64, (u8, u32)>,
    clock: u64,
}

impl Naive {
    /// One that holds so many answers, each for so long.
    pub fn new(capacity: usize, ttl: Option<Duration>) -> Self {
        Self { capacity, ttl, ..Self::default() }
    }

    /// Asks; tells whether the answer was there. If not, it is now.
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

    /// How many of these questions it would have answered.
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
