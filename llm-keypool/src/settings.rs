use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use llm_core::{
    Clock, Error, SystemClock,
    layer::{Backoff, RetryBudget},
};

use crate::{
    Group, Sink, Verdict,
    time::{SECOND, Time},
};

/// Function of the application that classifies an error. If it returns `None`, [`Verdict::of`] classifies the error.
type ReadError = dyn Fn(&Error) -> Option<Verdict> + Send + Sync;

/// Settings of a pool. [`KeyPoolBuilder`](crate::KeyPoolBuilder) documents them.
pub(crate) struct Settings {
    pub(crate) groups: Vec<Group>,
    pub(crate) round_robin: bool,
    pub(crate) affinity: bool,
    pub(crate) max_moves: u32,
    pub(crate) max_wait: Time,
    pub(crate) max_waiting: usize,
    pub(crate) overflow_after: Time,
    pub(crate) budget: RetryBudget,
    /// Backoff that determines the pauses before retries.
    pub(crate) backoff: Backoff,
    /// Backoff that determines the durations of parkings for which the vendor states no waiting time.
    pub(crate) parking_backoff: Backoff,
    pub(crate) retry_charged: bool,
    pub(crate) first_content_timeout: Option<Duration>,
    pub(crate) response_timeout: Option<Duration>,
    pub(crate) verdict: Option<Box<ReadError>>,
    pub(crate) sink: Option<Box<dyn Sink>>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Seed of random choices.
    pub(crate) seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            round_robin: false,
            affinity: false,
            max_moves: 32,
            max_wait: 30 * SECOND,
            max_waiting: 10_000,
            overflow_after: SECOND,
            budget: RetryBudget::new(10, 10),
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(8)),
            parking_backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            retry_charged: true,
            first_content_timeout: Some(Duration::from_secs(60)),
            response_timeout: None,
            verdict: None,
            sink: None,
            clock: Arc::new(SystemClock),
            // The standard library seeds the hasher of each `RandomState` at random.
            seed: RandomState::new().build_hasher().finish(),
        }
    }
}
