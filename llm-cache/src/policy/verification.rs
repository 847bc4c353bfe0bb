//! Verification: the requests of a share of the hits are sent again, to compare stored responses with new ones.
//!
//! Draws depend only on the seed and the number of earlier draws, so that tests can repeat them.

use std::{
    fmt,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use foldhash::quality::{FixedState, RandomState};
use llm_core::Tenant;

/// Share of the hits whose requests are sent again, to compare the stored responses with new ones.
///
/// The caller gets the stored response at once. The request is sent again in the background, paid by the caller's
/// tenant, and [`Operation::equivalent`](llm_core::Operation::equivalent) compares the responses. The new response
/// replaces the stored one. Requests that are divided into items are not verified.
///
/// ```
/// use llm_cache::{Background, Cache, Verification};
///
/// # tokio_test::block_on(async {
/// let verification = Verification::percent(5).on_mismatch(|mismatch| println!("{}: {:?} old", mismatch.model, mismatch.age));
/// let cache = Cache::builder("support").background(Background::new(4).verify(verification)).build()?;
/// # Ok::<_, llm_cache::BuildError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Verification {
    percent: u8,
    seed: u64,
    on_mismatch: Arc<dyn Fn(&Mismatch) + Send + Sync>,
}

/// Report that a stored response differs from a new response to the same request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mismatch {
    /// Name of the operation.
    pub operation: &'static str,
    /// Model of the request.
    pub model: Arc<str>,
    /// Tenant of the caller.
    pub tenant: Tenant,
    /// Age of the stored response.
    pub age: Duration,
}

impl Verification {
    /// Creates a verification of this percentage of the hits, at most 100.
    pub fn percent(percent: u8) -> Self {
        Self { percent, seed: RandomState::default().hash_one(0), on_mismatch: Arc::new(|_| ()) }
    }

    /// Sets the seed of the draws, so that tests draw the same hits each time. At random by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets a function that is called for each mismatch. Mismatches are counted and logged in any case.
    pub fn on_mismatch(mut self, on_mismatch: impl Fn(&Mismatch) + Send + Sync + 'static) -> Self {
        self.on_mismatch = Arc::new(on_mismatch);
        self
    }

    pub(crate) fn is_percentage(&self) -> bool {
        self.percent <= 100
    }
}

/// Sampler that draws the requests whose hits are verified.
pub(crate) struct VerificationSampler {
    verification: Verification,
    drawn: AtomicU64,
}

impl VerificationSampler {
    pub(crate) fn new(verification: Verification) -> Self {
        Self { verification, drawn: AtomicU64::new(0) }
    }

    /// Draws the next request. Returns `true` if the request is to be sent again in case it is a fresh hit.
    pub(crate) fn draws(&self) -> bool {
        let nth = self.drawn.fetch_add(1, Ordering::Relaxed);
        FixedState::with_seed(self.verification.seed).hash_one(nth) % 100 < u64::from(self.verification.percent)
    }

    pub(crate) fn report(&self, mismatch: &Mismatch) {
        (self.verification.on_mismatch)(mismatch);
    }
}

impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verification").field("percent", &self.percent).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verification_draws_share_by_seed() {
        let draws = |percent, seed| {
            let sampler = VerificationSampler::new(Verification::percent(percent).seed(seed));
            (0..10_000).map(|_| sampler.draws()).collect::<Vec<_>>()
        };
        let count = |draws: Vec<bool>| draws.into_iter().filter(|drawn| *drawn).count();
        assert_eq!((count(draws(0, 1)), count(draws(100, 1))), (0, 10_000));
        assert!((400..600).contains(&count(draws(5, 1))), "{}", count(draws(5, 1)));
        assert!(draws(5, 1) == draws(5, 1) && draws(5, 1) != draws(5, 2));
    }
}
