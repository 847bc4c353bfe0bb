use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::Request;

/// Naive LRU cache with a time to live, written without the library, to check the real layer against.
///
/// As in the layer, an expired response occupies its room until it is evicted or requested.
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
    /// Creates a cache with room for `capacity` responses, which expire after `ttl`.
    pub fn new(capacity: usize, ttl: Option<Duration>) -> Self {
        Self { capacity, ttl, ..Self::default() }
    }

    /// Sends a request, and returns `true` if its response was in the cache. If not, the response is stored.
    pub fn send(&mut self, request: &Request) -> bool {
        let key = request.key();
        self.clock += 1;
        let known = self.held.remove(&key);
        if let Some((_, last)) = known {
            self.used.remove(&last);
        }
        let fresh = known.filter(|(stored, _)| self.ttl.is_none_or(|ttl| request.at < *stored + ttl));
        let stored = fresh.map_or(request.at, |(stored, _)| stored);
        self.held.insert(key, (stored, self.clock));
        self.used.insert(self.clock, key);
        if self.held.len() > self.capacity {
            let (_, oldest) = self.used.pop_first().expect("every key has a last use");
            self.held.remove(&oldest);
        }
        fresh.is_some()
    }

    /// Returns the number of these requests that the cache serves.
    pub fn hits(mut self, requests: &[Request]) -> u64 {
        requests.iter().filter(|request| self.send(request)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(series: &[(u64, u32)]) -> Vec<Request> {
        series.iter().map(|&(at, prompt)| Request { at: Duration::from_secs(at), tenant: 0, prompt }).collect()
    }

    #[test]
    fn lru_evicts_least_recently_used_first() {
        let series = requests(&[(0, 1), (0, 2), (0, 1), (0, 3), (0, 1), (0, 2)]);
        let mut naive = Naive::new(2, None);
        let hits: Vec<bool> = series.iter().map(|request| naive.send(request)).collect();
        assert_eq!(hits, [false, false, true, false, true, false]);
    }

    #[test]
    fn lru_ttl_is_not_extended_by_use() {
        let ttl = Some(Duration::from_secs(10));
        let series = requests(&[(0, 1), (9, 1), (10, 1), (19, 1), (20, 1)]);
        let mut naive = Naive::new(9, ttl);
        let hits: Vec<bool> = series.iter().map(|request| naive.send(request)).collect();
        assert_eq!(hits, [false, true, false, true, false]);
    }

    #[test]
    fn tenants_share_nothing() {
        let one = Request { at: Duration::ZERO, tenant: 0, prompt: 1 };
        assert_eq!(Naive::new(9, None).hits(&[one, Request { tenant: 1, ..one }, one]), 1);
    }
}
