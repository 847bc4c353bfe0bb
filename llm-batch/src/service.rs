use std::{
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};

use llm_core::{
    Call, Error, Operation, Reply,
    layer::{Extensions, LlmService, ResponseFuture, SharedDeadline, always_ready, call_merged, oneshot},
};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BatchLayer, Stats,
    factors::Factors,
    gather::{Deliver, Entry, GroupKey, Groups, Shared, Size},
};

/// A service whose small calls are merged: see [`BatchLayer`](crate::BatchLayer).
///
/// Always ready: a call waits, bounded, inside its future. It is then sent by a clone of the inner service. Clones share the
/// batches.
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
    shared: Arc<Shared>,
    factors: Arc<Factors>,
    /// Groups of each operation, by type.
    groups: Arc<Mutex<Extensions>>,
}

/// Sends calls by the inner service, merged, and learns from their usage.
///
/// [`call_merged`] sends one call as it is, so that a lone call of a batch passes unchanged.
#[derive(Clone)]
struct Merged<T, S>(S, Arc<Factors>, PhantomData<fn(T)>);

impl<S> Layer<S> for BatchLayer {
    type Service = Batch<S>;

    fn layer(&self, inner: S) -> Batch<S> {
        Batch { inner, shared: Shared::new(self), factors: Arc::default(), groups: Arc::default() }
    }
}

impl<S> Batch<S> {
    /// Returns the counts since the service was made, of all clones and operations.
    pub fn stats(&self) -> Stats {
        self.shared.totals().stats
    }

    /// Refuses further calls that could be merged ([`Closed`](llm_core::ErrorKind::Closed)), has the open batches sent, and
    /// waits until all pending calls have ended. Their callers drive them: poll them meanwhile.
    pub async fn close(&self) {
        self.shared.close().await;
    }

    /// Returns the groups of an operation.
    fn groups<T: Operation>(&self) -> Arc<Groups<Merged<T, S>>>
    where
        S: LlmService<T>,
    {
        let mut all = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get().cloned();
        known.unwrap_or_else(|| {
            let groups = Groups::new(Arc::clone(&self.shared));
            all.insert(Arc::clone(&groups));
            groups
        })
    }
}

impl<T: Operation, S: LlmService<T>> Service<Call<T>> for Batch<S> {
    always_ready!(T::Output);

    fn call(&mut self, call: Call<T>) -> Self::Future {
        let inner = self.inner.clone();
        let key = call.body.merge_key().and_then(|key| GroupKey::of(&call, key));
        let Some(key) = key else { return ResponseFuture::waiting(oneshot(inner, call)) };
        let tokens = self.factors.scale(call.body.model(), call.body.estimate().input);
        let size = Size { items: call.body.item_count().max(1), tokens, output: 0 };
        let merged = Merged(inner, Arc::clone(&self.factors), PhantomData);
        let entry = Entry::of(call, size, self.shared.settings.limits);
        ResponseFuture::waiting(self.groups::<T>().submit(key, entry, merged))
    }
}

impl<T: Operation, S: LlmService<T>> Deliver for Merged<T, S> {
    type Item = Call<T>;
    type Response = Reply<T::Output>;

    async fn deliver(
        self,
        calls: Vec<Call<T>>,
        deadline: SharedDeadline,
        _: bool,
    ) -> Vec<Result<Reply<T::Output>, Error>> {
        let model = calls[0].body.shared_model();
        let estimated = calls.iter().fold(0, |sum: u64, call| sum.saturating_add(call.body.estimate().input));
        let replies = call_merged(self.0, calls, deadline).await;
        self.1.learn_from(&model, estimated, &replies);
        replies
    }
}
