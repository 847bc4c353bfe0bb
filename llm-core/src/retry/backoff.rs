use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Random waiting times before retries, for failures for which the vendor states no waiting time. The upper bound of
/// the time doubles with each failure ("full jitter"), so that callers who failed together do not retry together.
/// Clones share the sequence of random numbers.
///
/// ```
/// use std::time::Duration;
/// use llm_core::layer::Backoff;
///
/// let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60)).seeded(7);
/// assert_eq!(backoff.bound(3), Duration::from_secs(4));
/// assert_eq!(backoff.bound(40), Duration::from_secs(60));
/// assert!(backoff.wait(3) < Duration::from_secs(4));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    random: Random,
}

/// Generator of pseudo-random numbers that must not be used for secrets. Clones share the sequence.
#[derive(Clone, Debug)]
struct Random(Arc<AtomicU64>);

impl Backoff {
    /// Creates a backoff whose upper bound is `first` after the first failure, twice that after the second, and so on
    /// up to `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        // The standard library seeds the hasher of each `RandomState` at random.
        Self { first, most, random: Random::new(RandomState::new().build_hasher().finish()) }
    }

    /// Sets the seed, so that a test gets the same random times in each run.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        Self { random: Random::new(seed), ..self }
    }

    /// Returns the upper bound of the waiting time after `failed` failures in a row.
    pub fn bound(&self, failed: u32) -> Duration {
        let doubled = 1u32.checked_shl(failed.saturating_sub(1)).and_then(|factor| self.first.checked_mul(factor));
        doubled.unwrap_or(self.most).min(self.most)
    }

    /// Returns a random waiting time after `failed` failures in a row, between zero and the [bound](Self::bound).
    pub fn wait(&self, failed: u32) -> Duration {
        let nanos = u64::try_from(self.bound(failed).as_nanos()).unwrap_or(u64::MAX);
        // The upper half of the product of two 64-bit numbers is smaller than either of them.
        Duration::from_nanos(((u128::from(nanos) * u128::from(self.random.next())) >> 64) as u64)
    }
}

impl Random {
    fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// Returns the next pseudo-random number (SplitMix64).
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_waits_stay_below_doubling_bound() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(1_000)).seeded(7);
        for (failed, bound) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (40, 1_000), (u32::MAX, 1_000)] {
            let waits: Vec<_> = (0..1_000).map(|_| backoff.wait(failed)).collect();
            let bound = Duration::from_millis(bound);
            assert!(waits.iter().all(|wait| *wait < bound));
            for tenth in 0..10 {
                let within =
                    waits.iter().filter(|wait| **wait >= bound * tenth / 10 && **wait < bound * (tenth + 1) / 10);
                let within = within.count();
                assert!((60..=140).contains(&within), "{within} of 1,000 in tenth {tenth} of {bound:?}");
            }
        }
        assert_ne!(
            Backoff::new(backoff.first, backoff.most).wait(5),
            Backoff::new(backoff.first, backoff.most).wait(5)
        );
    }
}
