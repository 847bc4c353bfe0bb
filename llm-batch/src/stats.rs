/// Counts of calls and requests since a batcher or service was created. In shadow mode `requests` is the number of
/// requests that batches would have needed.
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
    /// Number of admitted calls that could be merged.
    pub calls: u64,
    /// Number of requests in which these calls were sent for the first time.
    pub requests: u64,
    /// Number of further requests, for the halves of batches whose request failed.
    pub further_requests: u64,
    /// Number of times that a batch, or a half of a batch, was split into halves.
    pub halvings: u64,
    /// Number of calls that were refused because too many were pending.
    pub refused: u64,
}

impl Stats {
    /// Returns the number of requests that were saved: the number of calls minus the number of all requests that they
    /// took. It is 0 if failures took more requests than batches saved.
    ///
    /// ```
    /// use llm_batch::{Batcher, llm_core::{Error, layer::BatchLimits}};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Error> {
    /// let batcher = Batcher::new(BatchLimits::of_items(10), |items: Vec<u32>| async move {
    ///     tokio::task::yield_now().await;
    ///     Ok(items)
    /// });
    /// let [one, two, three] = [1, 2, 3].map(|item| batcher.submit(item));
    /// tokio::try_join!(one, two, three)?;
    /// assert_eq!((batcher.stats().requests, batcher.stats().saved()), (2, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn saved(&self) -> u64 {
        self.calls.saturating_sub(self.requests + self.further_requests)
    }
}
