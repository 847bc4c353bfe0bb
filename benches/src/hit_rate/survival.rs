use std::time::Duration;

use llm_cache::EvictionPolicy;

use super::{CacheSettings, Layer, Request};

/// Scan: a warm set of prompts, followed by many prompts that are requested once.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// Number of warm prompts. Each is requested ten times before the scan.
    pub hot: u32,
    /// Capacity of the cache, in responses.
    pub capacity: usize,
    /// Number of prompts that are requested once.
    pub scanned: u32,
    /// Number of scanned prompts after which one warm prompt is requested again; 0 for never.
    pub hot_every: u32,
}

/// State of the warm set during and after a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survival {
    /// Number of warm responses that the cache holds after the scan.
    pub left: u32,
    /// Number of requests for warm prompts during the scan.
    pub requests: u32,
    /// Number of these requests that the cache served.
    pub hits: u32,
}

/// Sends a scan through the real layer, and returns what survived.
pub async fn survival(scan: &Scan, policy: EvictionPolicy) -> Survival {
    let Scan { hot, capacity, scanned, hot_every } = *scan;
    let request = |prompt| Request { at: Duration::ZERO, tenant: 0, prompt };
    let mut layer = Layer::new(&CacheSettings { capacity, policy, ttl: None }).await;
    for _ in 0..10 {
        for warm in 0..hot {
            layer.send(&request(warm)).await;
        }
    }
    let mut survival = Survival { left: 0, requests: 0, hits: 0 };
    for number in 0..scanned {
        layer.send(&request(hot + number)).await;
        if number.checked_rem(hot_every) == Some(0) {
            let is_hit = layer.send(&request(survival.requests % hot)).await;
            survival.requests += 1;
            survival.hits += u32::from(is_hit);
        }
    }
    for warm in 0..hot {
        survival.left += u32::from(layer.holds(&request(warm)).await);
    }
    survival
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(hot_every: u32) -> Survival {
        let scan = Scan { hot: 10, capacity: 20, scanned: 200, hot_every };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(survival(&scan, EvictionPolicy::Lru))
    }

    #[test]
    fn survival_keeps_entries_requested_in_time() {
        assert_eq!(measured(0), Survival { left: 0, requests: 0, hits: 0 });
        // Ten warm and ten scanned responses fill the cache.
        assert_eq!(measured(1), Survival { left: 10, requests: 200, hits: 200 });
        // One warm prompt for every two scanned ones is too seldom: all warm responses are evicted after ten scanned
        // requests.
        let late = measured(2);
        assert_eq!((late.requests, late.hits), (100, 5));
    }
}
