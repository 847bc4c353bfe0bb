use std::{num::NonZeroU32, time::Duration};

use llm_core::layer::{Backoff, RetryBudget};

/// Layer that retries failed calls. The documentation of the [module](super) states the conditions.
///
/// | | default |
/// |---|---|
/// | attempts | 3, the first included |
/// | waiting time, if the vendor states none | up to 0.5 s, doubling up to 8 s |
/// | longest wait that a vendor may ask for | 60 s |
/// | budget | 20 retries for a hundred calls, 10 to begin with |
/// | retry of charged attempts | off |
///
/// All services that a layer creates, and their clones, share the layer's budget.
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
/// use llm_providers::retry::{RetryBudget, RetryLayer};
///
/// let layer = RetryLayer::new()
///     .attempts(NonZeroU32::MIN.saturating_add(4))
///     .backoff(Duration::from_millis(200), Duration::from_secs(4))
///     .budget(RetryBudget::new(10, 5));
/// ```
#[derive(Clone, Debug)]
pub struct RetryLayer {
    pub(super) attempts: NonZeroU32,
    pub(super) backoff: Backoff,
    pub(super) longest_wait: Duration,
    pub(super) budget: RetryBudget,
    pub(super) pay_twice: bool,
}

impl RetryLayer {
    /// Creates a layer with the defaults.
    pub fn new() -> Self {
        Self {
            attempts: NonZeroU32::new(3).expect("three is not zero"),
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(8)),
            longest_wait: Duration::from_secs(60),
            budget: RetryBudget::default(),
            pay_twice: false,
        }
    }

    /// Sets the largest number of attempts, the first included.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use llm_providers::retry::RetryLayer;
    ///
    /// let once = RetryLayer::new().attempts(NonZeroU32::MIN);
    /// ```
    pub fn attempts(self, attempts: NonZeroU32) -> Self {
        Self { attempts, ..self }
    }

    /// Sets the waiting time for failures for which the vendor states none: a random time up to `first` after the first
    /// attempt, up to twice that after the second, and so on up to `most`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_providers::retry::RetryLayer;
    ///
    /// let layer = RetryLayer::new().backoff(Duration::from_millis(200), Duration::from_secs(4));
    /// ```
    pub fn backoff(self, first: Duration, most: Duration) -> Self {
        Self { backoff: Backoff::new(first, most), ..self }
    }

    /// Sets the seed of the random waiting times, for tests.
    pub fn seed(self, seed: u64) -> Self {
        Self { backoff: self.backoff.seeded(seed), ..self }
    }

    /// Sets the longest waiting time that a vendor may ask for. If it asks for more, the call returns the error at
    /// once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_providers::retry::RetryLayer;
    ///
    /// let impatient = RetryLayer::new().max_retry_after(Duration::from_secs(5));
    /// ```
    pub fn max_retry_after(self, longest_wait: Duration) -> Self {
        Self { longest_wait, ..self }
    }

    /// Sets the budget, which several layers may share.
    ///
    /// ```
    /// use llm_providers::retry::{RetryBudget, RetryLayer};
    ///
    /// let shared = RetryBudget::new(10, 5);
    /// let (chat, embeddings) = (RetryLayer::new().budget(shared.clone()), RetryLayer::new().budget(shared));
    /// ```
    pub fn budget(self, budget: RetryBudget) -> Self {
        Self { budget, ..self }
    }

    /// Retries also if the failed attempt may be charged: a vendor's 5xx, a response that broke off, a timeout.
    ///
    /// ```
    /// use llm_providers::retry::RetryLayer;
    ///
    /// let layer = RetryLayer::new().retry_charged(true);
    /// ```
    pub fn retry_charged(self, pay_twice: bool) -> Self {
        Self { pay_twice, ..self }
    }
}

impl Default for RetryLayer {
    fn default() -> Self {
        Self::new()
    }
}
