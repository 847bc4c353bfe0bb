use std::time::Duration;

use llm_core::layer::BatchLimits;
use tower_layer::Layer;

use crate::{Batch, settings::Settings};

/// Merges small calls of a service into few requests.
///
/// Each service that it makes has batches of its own, which the service's clones share.
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
    settings: Settings,
}

impl BatchLayer {
    /// Creates a layer for requests within these limits, such as those of `llm_providers::batch_limits`.
    pub const fn new(limits: BatchLimits) -> Self {
        Self { settings: Settings::new(limits) }
    }

    /// Sets the longest time that a call waits for others: 10 ms by default.
    pub const fn max_wait(mut self, wait: Duration) -> Self {
        self.settings.max_wait = wait;
        self
    }

    /// Sets the most items and estimated input tokens of calls that wait or are in flight: 10,000 and 10,000,000 by default.
    /// A call beyond them is refused as [`Overloaded`](llm_core::ErrorKind::Overloaded), unless it is the only one.
    pub const fn max_pending(mut self, items: u64, tokens: u64) -> Self {
        self.settings.max_pending = (items, tokens);
        self
    }

    /// Counts the requests that batches would need, and sends each call at once and unchanged.
    pub const fn shadow(mut self) -> Self {
        self.settings.shadow = true;
        self
    }
}

impl<S> Layer<S> for BatchLayer {
    type Service = Batch<S>;

    fn layer(&self, inner: S) -> Batch<S> {
        Batch::new(inner, self.settings.clone())
    }
}
