use std::time::Duration;

use llm_core::layer::BatchLimits;

/// Layer that merges small calls into few requests.
///
/// Each service that the layer creates has batches of its own, which the clones of that service share.
///
/// ```
/// use llm_batch::BatchLayer;
/// use llm_core::{Call, EmbedRequest, into_provider};
/// use llm_providers::{OpenAi, batch_limits};
/// use tower::ServiceBuilder;
/// # use llm_testkit::{Latency, Vendor};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let time = std::time::Duration::from_millis(100);
/// # let vendor = Vendor::builder().latency(Latency::fixed(time, time)).build();
/// # let client = OpenAi::with_transport("sk-a", vendor.transport())?;
/// let batch = ServiceBuilder::new().layer(BatchLayer::new(batch_limits::openai_embeddings())).service(client);
/// let provider = into_provider(batch.clone());
/// let text = |text: &str| provider.embed(Call::new("acme", EmbedRequest::new("text-embedding-3-small", [text])));
/// let vectors = tokio::join!(text("roof"), text("wall"), text("floor"), text("door"));
/// assert_eq!(vectors.3?.output.vectors.len(), 1);
/// // The first went at once, and the others together while it was in flight.
/// assert_eq!((batch.stats().calls, batch.stats().requests), (4, 2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct BatchLayer {
    pub(crate) limits: BatchLimits,
    pub(crate) max_wait: Duration,
    pub(crate) max_pending: (usize, u64),
    pub(crate) is_shadow: bool,
    /// True to send a call at once if no other call of its group is waiting or in flight.
    pub(crate) sends_idle: bool,
}

impl BatchLayer {
    /// Creates a layer that keeps requests within these limits, such as those of `llm_providers::batch_limits`.
    ///
    /// Pass the vendor's own limits. The layer keeps batches 10 % below the limit of tokens by itself, because tokens
    /// are estimated.
    ///
    /// ```
    /// use llm_batch::{BatchLayer, llm_core::layer::BatchLimits};
    ///
    /// let own_server = BatchLayer::new(BatchLimits::of_items(32).with_tokens(16_384));
    /// # drop(own_server);
    /// ```
    pub const fn new(limits: BatchLimits) -> Self {
        let (max_wait, max_pending) = (Duration::from_millis(10), (10_000, 10_000_000));
        Self { limits, max_wait, max_pending, is_shadow: false, sends_idle: true }
    }

    /// Sets the longest time that a call waits for others: 10 ms by default.
    ///
    /// Most calls wait for a shorter time, which the section on waiting in the crate's documentation explains. Timers
    /// have a resolution of a millisecond. More than a day counts as a day.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_batch::{BatchLayer, llm_core::layer::BatchLimits};
    ///
    /// let hurried = BatchLayer::new(BatchLimits::of_items(96)).max_wait(Duration::from_millis(2));
    /// # drop(hurried);
    /// ```
    pub const fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// Sets the largest number of items, and of their estimated input tokens, that wait or are in flight: 10,000 and
    /// 10,000,000 by default. Beyond these bounds a call is refused as [`Overloaded`](llm_core::ErrorKind::Overloaded),
    /// unless no other call is pending. Values above `u32::MAX` count as `u32::MAX`.
    ///
    /// ```
    /// use llm_batch::{BatchLayer, llm_core::layer::BatchLimits};
    ///
    /// let small = BatchLayer::new(BatchLimits::of_items(96)).max_pending(1_000, 100_000);
    /// # drop(small);
    /// ```
    pub const fn max_pending(mut self, items: usize, tokens: u64) -> Self {
        self.max_pending = (items, tokens);
        self
    }

    /// Switches to shadow mode, in which each call is sent at once and unchanged, and the requests that batches would
    /// need are only counted.
    ///
    /// ```
    /// use llm_batch::{BatchLayer, llm_core::layer::BatchLimits};
    /// use tower_layer::Layer;
    ///
    /// let batch = BatchLayer::new(BatchLimits::of_items(96)).shadow().layer(());
    /// // After a day: the requests that batches would have saved.
    /// assert_eq!(batch.stats().saved(), 0);
    /// ```
    pub const fn shadow(mut self) -> Self {
        self.is_shadow = true;
        self
    }
}

/// Creates the settings of [`BatchLayer::new`], for a [`Batcher`](crate::Batcher) that needs no other settings.
impl From<BatchLimits> for BatchLayer {
    fn from(limits: BatchLimits) -> Self {
        Self::new(limits)
    }
}
