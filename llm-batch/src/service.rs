use std::sync::Arc;

use llm_core::{
    Call, Operation, Reply,
    layer::{LlmService, ResponseFuture, SharedDeadline, always_ready, call_merged, oneshot},
};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BatchLayer, Stats,
    factors::Factors,
    gather::{Deliver, Groups, Results, Size, may_wait},
};

/// Service that merges small calls: see [`BatchLayer`](crate::BatchLayer).
///
/// The service is always ready. A call waits inside its future, for a bounded time, and is then sent by a clone of the
/// inner service. Clones share the batches.
///
/// ```
/// use llm_batch::{BatchLayer, llm_core::{ErrorKind, layer::BatchLimits}};
/// use tower_layer::Layer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let batch = BatchLayer::new(BatchLimits::of_items(96)).layer(());
/// let clone = batch.clone();
/// // On shutdown: open batches are sent, and all pending calls end first.
/// clone.close().await;
/// assert_eq!(batch.stats().requests, 0);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Batch<S> {
    inner: S,
    groups: Arc<Groups>,
    factors: Arc<Factors>,
}

impl<S> Layer<S> for BatchLayer {
    type Service = Batch<S>;

    fn layer(&self, inner: S) -> Batch<S> {
        Batch { inner, groups: Groups::new(self), factors: Arc::default() }
    }
}

impl<S> Batch<S> {
    /// Returns the counts of the service and its clones, for all operations, since the service was created.
    pub fn stats(&self) -> Stats {
        *self.groups.shared.stats()
    }

    /// Refuses further calls that could be merged ([`Closed`](llm_core::ErrorKind::Closed)), closes the open batches so
    /// that they are sent, and waits until no call is pending. The futures of the callers must be polled meanwhile,
    /// because they drive the batches.
    pub async fn close(&self) {
        self.groups.shared.close().await;
    }
}

impl<T: Operation, S: LlmService<T>> Service<Call<T>> for Batch<S> {
    always_ready!(T::Output);

    fn call(&mut self, call: Call<T>) -> Self::Future {
        let Some(merge_key) = call.body.merge_key().filter(|_| may_wait(&call)) else {
            return ResponseFuture::waiting(oneshot(self.inner.clone(), call));
        };
        let tokens = self.factors.scale(call.body.model(), call.body.estimate().input);
        let size = Size { items: call.body.item_count().max(1) as u64, tokens, output: 0 };
        let most = size.room(&self.groups.shared.settings.limits);
        ResponseFuture::waiting(Arc::clone(&self.groups).submit(merge_key, call, size, most, self.clone()))
    }
}

/// Sends calls as one merged request by the inner service, and corrects later estimates by the usage of the replies.
///
/// [`call_merged`] sends a single call unchanged.
impl<T: Operation, S: LlmService<T>> Deliver<T, Reply<T::Output>> for Batch<S> {
    async fn deliver(self, calls: Vec<Call<T>>, deadline: SharedDeadline) -> Results<Reply<T::Output>> {
        let model = calls[0].body.shared_model();
        let estimated = calls.iter().fold(0, |sum: u64, call| sum.saturating_add(call.body.estimate().input));
        let replies = call_merged(self.inner, calls, deadline).await;
        self.factors.learn(&model, estimated, &replies);
        replies
    }
}
