//! Groups of calls that may share a request, and the admission of a call to a batch of its group.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Either, select},
    stream::{Once, once},
};
use llm_core::{
    Call, Charge, Error, ErrorKind, Operation, Priority, Tenant,
    layer::{Broadcast, CallDeadline, Members, Pinned, Reader, SharedDeadline},
};
use tokio::{runtime::Handle, sync::oneshot, time::Instant};

use super::{
    batch::{Batch, Deliver, Member},
    shared::Shared,
    window::{Arrivals, Cause, Size, Window},
};
use crate::BatchLayer;

/// Groups of calls, for all operations of a batcher or a service and its clones.
pub(crate) struct Groups {
    pub(crate) shared: Arc<Shared>,
    groups: Mutex<HashMap<GroupKey, Group>>,
}

/// Key of a group of calls that may share a request: operation, merge key, tenant, priority and pinned group of a key
/// pool.
///
/// A batch has only one tenant, so that tenants do not share errors, prices or waiting times, and only one priority, so
/// that background work does not delay a user.
type GroupKey = (TypeId, Vec<u8>, Tenant, Priority, Option<Pinned>);

/// State of the calls with one [`GroupKey`]. If there are many groups, groups without pending calls are removed.
struct Group {
    arrivals: Arrivals,
    /// Broadcast that runs the batch opened last, and the batch itself. Both are weak, so that they are dropped with
    /// the batch's callers.
    open: Option<(Weak<Broadcast<Run>>, Weak<AnyBatch>)>,
    /// Window of the batch that would be open, if shadow mode did not send each call at once.
    shadow: Option<Window>,
}

/// Future that gathers and sends a batch, as a stream of one item that the batch's callers poll.
type Run = Once<BoxFuture<'static, ()>>;

/// [`Batch`] of any operation, to be downcast.
type AnyBatch = dyn Any + Send + Sync;

/// Place of a caller in a batch, consisting of a reader that drives the batch, the batch's deadlines, and the receiver
/// of the result. Dropping the place removes the caller from the batch.
type Place<O> = (Reader<Run>, SharedDeadline, oneshot::Receiver<Result<O, Error>>);

/// Returns `true` if a call may be merged with others. It must not be a merged call itself, and it must be repeatable,
/// because the calls of a failed batch are sent again in halves.
pub(crate) fn may_wait<T: Operation>(call: &Call<T>) -> bool {
    call.body.is_repeatable() && call.extensions.get::<Members>().is_none()
}

impl Groups {
    /// Number of groups above which groups without pending calls are removed.
    const MOST: usize = 1_024;

    pub(crate) fn new(settings: &BatchLayer) -> Arc<Self> {
        Arc::new(Self { shared: Shared::new(settings), groups: Mutex::default() })
    }

    /// Sends a call, alone or with others of its group. `size` is the size of the call, and `most` is the largest size
    /// of a batch that this call opens.
    ///
    /// # Errors
    ///
    /// Returns `Closed` or `Overloaded` before the call waits. Afterwards returns the error of the call's request, or
    /// [`ErrorKind::Other`] if the batch panicked or its runtime ended.
    pub(crate) async fn submit<T: Clone + Send + 'static, O: Send + 'static>(
        self: Arc<Self>,
        merge_key: Vec<u8>,
        call: Call<T>,
        size: Size,
        most: Size,
        deliver: impl Deliver<T, O>,
    ) -> Result<O, Error> {
        let _admitted = self.shared.admit(size)?;
        let deadline = CallDeadline::of(&call);
        let (reader, deadlines, mut response) = self.join(merge_key, call, size, most, deliver);
        let _waits = deadlines.join(deadline);
        // Each caller drives the batch while no other caller does.
        let result = match select(&mut response, pin!(reader.last())).await {
            Either::Left((result, _)) => result.ok(),
            Either::Right(_) => response.try_recv().ok(),
        };
        result.unwrap_or_else(|| {
            let message = "the batch ended without a response to this call: its code panicked, or its runtime ended";
            Err(Error::new(ErrorKind::Other, message).with_charge(Charge::Unknown))
        })
    }

    /// Adds a call to the open batch of its group. If there is none, opens one.
    fn join<T: Clone + Send + 'static, O: Send + 'static>(
        &self,
        merge_key: Vec<u8>,
        call: Call<T>,
        size: Size,
        most: Size,
        deliver: impl Deliver<T, O>,
    ) -> Place<O> {
        let BatchLayer { max_wait, sends_idle, is_shadow, .. } = self.shared.settings;
        let (since, (reply, response)) = (Instant::now(), oneshot::channel());
        let pinned = call.extensions.get().cloned();
        let key = (TypeId::of::<Batch<T, O>>(), merge_key, call.tenant.clone(), call.priority, pinned);
        // Declared before the lock guard, so that it is dropped after the guard. Dropping the callers' values may call
        // the batcher, which locks the groups.
        let _refused;
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        // Groups without pending calls are removed before a further group would make the map allocate.
        if groups.len() >= Self::MOST && groups.len() == groups.capacity() {
            groups.retain(|_, group| group.arrivals.pending() > 0);
        }
        let new = || Group { arrivals: Arrivals::new(max_wait, sends_idle), open: None, shadow: None };
        let group = groups.entry(key).or_insert_with(new);
        let mut member = Member { call, size, since, reply, failed: None, _pending: group.arrivals.arrive(since) };
        // Without a tokio runtime there is no timer, so the call is sent at once.
        let is_idle = sends_idle && group.arrivals.pending() == 1 || Handle::try_current().is_err();
        let mut alone = if size.is_oversize(most) { Some("oversize") } else { is_idle.then_some("idle") };
        if is_shadow {
            group.watch(since, size, most, alone, &self.shared);
            alone = Some("idle");
        }
        if alone.is_none()
            && let Some((run, batch)) = &group.open
            && let Some(reader) = run.upgrade().and_then(|run| run.subscribe())
            && let Some(batch) = batch.upgrade().and_then(|batch| batch.downcast::<Batch<T, O>>().ok())
        {
            match batch.join(member, &mut group.arrivals) {
                Ok(()) => return (reader, batch.deadline.clone(), response),
                Err(refused) => (member, _refused) = (refused, (reader, batch)),
            }
        }
        let window = Window::open(since, size, most, alone, &mut group.arrivals);
        let batch = Batch::new(&self.shared, window, member);
        let run = Broadcast::new(once(Arc::clone(&batch).run(deliver).boxed()));
        let place = (run.subscribe().expect("it is new"), batch.deadline.clone(), response);
        if alone.is_none() {
            let batch: Arc<AnyBatch> = batch;
            group.open = Some((Arc::downgrade(&run), Arc::downgrade(&batch)));
        }
        place
    }
}

impl Group {
    /// Counts a call in shadow mode as if it joined a batch. No timer runs in shadow mode, so a batch is reported when
    /// the next batch opens.
    fn watch(&mut self, now: Instant, size: Size, most: Size, alone: Option<Cause>, shared: &Shared) {
        let Self { arrivals, shadow, .. } = self;
        if alone.is_none() && shadow.as_mut().is_some_and(|window| window.join(now, size, arrivals)) {
            return;
        }
        shared.stats().requests += 1;
        let opened = Window::open(now, size, most, alone, arrivals);
        let sent = if alone.is_some() { Some(opened) } else { shadow.replace(opened) };
        if let Some(window) = sent {
            shared.flushed(&window, window.used.items, &[]);
        }
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("stats", &*self.shared.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::poll_immediate;
    use llm_core::layer::BatchLimits;

    use super::*;
    use crate::gather::Results;

    /// Deliverer that returns each call's body when it is polled for the second time.
    #[derive(Clone)]
    struct Echo;

    impl Deliver<u32, u32> for Echo {
        async fn deliver(self, calls: Vec<Call<u32>>, _: SharedDeadline) -> Results<u32> {
            tokio::task::yield_now().await;
            calls.into_iter().map(|call| Ok(call.body)).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn groups_without_calls_are_forgotten() {
        let groups = Groups::new(&BatchLayer::new(BatchLimits::of_items(9)));
        let size = Size { items: 1, tokens: 1, output: 0 };
        let send = |n: u32| {
            let most = size.room(&groups.shared.settings.limits);
            Arc::clone(&groups).submit(n.to_be_bytes().to_vec(), Call::new("acme", n), size, most, Echo)
        };
        for n in 0..5_000 {
            // Every other caller leaves.
            let left = n % 2 == 1 && poll_immediate(send(n)).await.is_none();
            assert!(left || send(n).await.is_ok_and(|response| response == n));
        }
        assert!(groups.groups.lock().expect("no test panics holding it").len() <= 2 * Groups::MOST);
    }
}
