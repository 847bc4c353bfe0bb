use std::time::Duration;

use llm_cache::EvictionPolicy;

use super::{Asked, Keeping, Layer};

/// Scan: a warm set of questions, followed by many questions that are asked once.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// Number of warm questions. Each is asked ten times before the scan.
    pub hot: u32,
    /// Capacity of the cache, in answers.
    pub capacity: usize,
    /// Number of questions that are asked once.
    pub scanned: u32,
    /// Number of scanned questions after which one warm question is asked again; 0 for never.
    pub hot_every: u32,
}

/// State of the warm set during and after a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survival {
    /// Number of warm answers that the cache holds after the scan.
    pub left: u32,
    /// Number of warm questions asked during the scan.
    pub asked: u32,
    /// Number of these questions that the cache answered.
    pub answered: u32,
}

/// Sends a scan through the real layer, and returns what survived.
pub async fn survival(scan: &Scan, policy: EvictionPolicy) -> Survival {
    let Scan { hot, capacity, scanned, hot_every } = *scan;
    let asked = |question| Asked { at: Duration::ZERO, tenant: 0, question };
    let mut layer = Layer::new(&Keeping { capacity, policy, ttl: None }).await;
    for _ in 0..10 {
        for warm in 0..hot {
            layer.ask(&asked(warm)).await;
        }
    }
    let mut survival = Survival { left: 0, asked: 0, answered: 0 };
    for number in 0..scanned {
        layer.ask(&asked(hot + number)).await;
        if number.checked_rem(hot_every) == Some(0) {
            let answered = layer.ask(&asked(survival.asked % hot)).await;
            survival.asked += 1;
            survival.answered += u32::from(answered);
        }
    }
    for warm in 0..hot {
        survival.left += u32::from(layer.holds(&asked(warm)).await);
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
        assert_eq!(measured(0), Survival { left: 0, asked: 0, answered: 0 });
        // Ten warm and ten scanned answers fill the cache.
        assert_eq!(measured(1), Survival { left: 10, asked: 200, answered: 200 });
        // One warm question for every two scanned ones is too seldom: all warm answers are evicted after ten scanned
        // questions.
        let late = measured(2);
        assert_eq!((late.asked, late.answered), (100, 5));
    }
}
