use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts since a batcher or service was made. In shadow mode `requests` are those that batches would have needed.
///
/// ```
/// use llm_batch::{BatchLayer, llm_core::layer::BatchLimits};
/// use tower_layer::Layer;
///
/// let batch = BatchLayer::new(BatchLimits::of_items(96)).layer(());
/// assert_eq!(batch.stats().saved(), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that could be merged, without refused ones.
    pub calls: u64,
    /// Requests that they were sent in, without further ones.
    pub requests: u64,
    /// Further requests, with halves of a batch whose request failed.
    pub further_requests: u64,
    /// Batches and halves that were halved.
    pub halvings: u64,
    /// Calls that were refused because too many were pending.
    pub refused: u64,
}

impl Stats {
    /// Returns the number of requests that were saved.
    pub fn saved(&self) -> u64 {
        self.calls.saturating_sub(self.requests + self.further_requests)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) further_requests: AtomicU64,
    pub(crate) halvings: AtomicU64,
    pub(crate) refused: AtomicU64,
}

impl Counters {
    pub(crate) fn stats(&self) -> Stats {
        let Self { calls, requests, further_requests, halvings, refused } = self;
        let [calls, requests, further_requests, halvings, refused] =
            [calls, requests, further_requests, halvings, refused].map(|counter| counter.load(Relaxed));
        Stats { calls, requests, further_requests, halvings, refused }
    }
}
