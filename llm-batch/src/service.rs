use std::{
    any::TypeId,
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use llm_core::{
    Call, Error, Operation, Origin, Reply,
    layer::{CallDeadline, LlmService, Members, ResponseFuture, SharedDeadline, always_ready, call_merged, oneshot},
};
use tower_service::Service;

use crate::{
    Stats,
    deliver::{Deliver, Entry},
    groups::{AnyGroups, GroupKey, Groups},
    settings::{Settings, Shared},
};

/// A service whose small calls are merged: see [`BatchLayer`](crate::BatchLayer).
///
/// Always ready: a call waits, bounded, inside its future. It is then sent by a clone of the inner service. Clones share the
/// batches.
#[derive(Clone)]
pub struct Batch<S> {
    inner: S,
    batches: Arc<Batches>,
}

/// Batches of all operations.
struct Batches {
    shared: Arc<Shared>,
    by_operation: RwLock<HashMap<TypeId, Arc<dyn AnyGroups>>>,
}

type GroupsOf<T> = Groups<Call<T>, Reply<<T as Operation>::Output>>;

/// Sends calls by the inner service.
#[derive(Clone)]
struct Through<S>(S);

impl<S> Batch<S> {
    pub(crate) fn new(inner: S, settings: Settings) -> Self {
        let batches = Batches { shared: Arc::new(Shared::new(settings)), by_operation: RwLock::default() };
        Self { inner, batches: Arc::new(batches) }
    }

    /// Returns the counts since the service was made.
    pub fn stats(&self) -> Stats {
        self.batches.shared.stats()
    }

    /// Refuses further calls that could be merged ([`Closed`](llm_core::ErrorKind::Closed)), has the open batches sent, and
    /// waits until all pending calls have ended. Their callers drive them: poll them meanwhile.
    pub async fn close(&self) {
        self.batches.shared.close();
        let groups: Vec<_> = {
            let known = self.batches.by_operation.read().unwrap_or_else(PoisonError::into_inner);
            known.values().cloned().collect()
        };
        groups.iter().for_each(|groups| groups.flush());
        self.batches.shared.drained().await;
    }
}

impl Batches {
    fn of<T: Operation>(&self) -> Option<Arc<GroupsOf<T>>> {
        let known = self.by_operation.read().unwrap_or_else(PoisonError::into_inner).get(&TypeId::of::<T>()).cloned();
        let groups = known.unwrap_or_else(|| {
            let mut all = self.by_operation.write().unwrap_or_else(PoisonError::into_inner);
            let new = || -> Arc<dyn AnyGroups> { Arc::new(GroupsOf::<T>::new(Arc::clone(&self.shared))) };
            Arc::clone(all.entry(TypeId::of::<T>()).or_insert_with(new))
        });
        groups.as_any().downcast().ok()
    }
}

impl<T: Operation, S: LlmService<T>> Service<Call<T>> for Batch<S> {
    always_ready!(T::Output);

    fn call(&mut self, call: Call<T>) -> Self::Future {
        let inner = self.inner.clone();
        let Some((key, groups)) = key(&call).and_then(|key| Some((key, self.batches.of::<T>()?))) else {
            return ResponseFuture::waiting(oneshot(inner, call));
        };
        let entry = Entry {
            items: call.body.item_count(),
            tokens: call.body.estimate().input,
            model: call.body.shared_model(),
            permit: call.extensions.get().cloned(),
            item: call,
        };
        let deadline = CallDeadline::of(&entry.item);
        ResponseFuture::waiting(groups.submit(key, entry, deadline, Through(inner)))
    }
}

/// Returns the group of a call; `None` for one that is to be sent alone.
fn key<T: Operation>(call: &Call<T>) -> Option<GroupKey> {
    // Halves are further attempts, and a merged call has its own callers.
    if !call.body.is_repeatable() || call.extensions.get::<Members>().is_some() {
        return None;
    }
    Some(GroupKey {
        merge_key: call.body.merge_key()?,
        tenant: call.tenant.clone(),
        priority: call.priority,
        pinned: call.extensions.get().cloned(),
    })
}

impl<T: Operation, S: LlmService<T>> Deliver<Call<T>, Reply<T::Output>> for Through<S> {
    async fn deliver(self, items: Vec<Call<T>>, deadline: SharedDeadline) -> Vec<Result<Reply<T::Output>, Error>> {
        call_merged(self.0, items, deadline).await
    }

    fn used(response: &Reply<T::Output>) -> Option<u64> {
        let usage = response.receipt.usage().filter(|_| response.receipt.origin() == Origin::Vendor)?;
        Some(usage.input)
    }
}

impl<S> fmt::Debug for Batch<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
