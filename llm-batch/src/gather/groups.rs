//! Groups of calls that may share a request, and the way of a call into a batch.

use std::{
    collections::HashMap,
    iter,
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
    layer::{Broadcast, Members, Pinned, Reader},
};
use tokio::runtime::Handle;

use super::{
    batch::{Batch, Deliver, Entry, Response},
    shared::Shared,
    telemetry,
    window::{Arrivals, Flush, Window},
};
use crate::BatchLayer;

/// Calls that may share a request: those with equal keys.
///
/// One tenant a batch, so that no tenant's errors, prices or waits are another's; and one priority, so that background work does
/// not delay a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupKey {
    pub(crate) merge_key: Vec<u8>,
    pub(crate) tenant: Tenant,
    pub(crate) priority: Priority,
    pub(crate) pinned: Option<Pinned>,
}

/// Groups of one operation.
pub(crate) struct Groups<D: Deliver> {
    pub(crate) shared: Arc<Shared>,
    groups: Mutex<HashMap<GroupKey, Group<D>>>,
}

/// State of one group. It is forgotten while idle if there are many.
struct Group<D: Deliver> {
    arrivals: Arrivals,
    /// The last batch that was opened, with what its callers drive; gone with them.
    open: (Weak<Batch<D>>, Weak<Broadcast<Run>>),
    /// The batch that would be open, in shadow mode.
    shadow: Option<Window>,
}

type Run = Once<BoxFuture<'static, ()>>;

/// Place of a caller in a batch. Dropped, the caller has left.
type Place<D> = (Arc<Batch<D>>, Reader<Run>, Response<D>);

impl GroupKey {
    /// Returns the group of a call with this key; `None` if the call is to be sent as it is.
    pub(crate) fn of<T: Operation>(call: &Call<T>, merge_key: Vec<u8>) -> Option<Self> {
        // Halves are further attempts, and a merged call has its own callers.
        let may_wait = call.body.is_repeatable() && call.extensions.get::<Members>().is_none();
        let (tenant, priority, pinned) = (call.tenant.clone(), call.priority, call.extensions.get().cloned());
        may_wait.then_some(Self { merge_key, tenant, priority, pinned })
    }
}

impl<D: Deliver> Groups<D> {
    /// Number of groups beyond which idle ones are forgotten.
    const MOST: usize = 1_024;

    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { shared, groups: Mutex::default() })
    }

    /// Sends a call, alone or with others of its group.
    ///
    /// # Errors
    ///
    /// `Closed` and `Overloaded` before it waits; the error of its request, or of a run that panicked.
    pub(crate) async fn submit(
        self: Arc<Self>,
        key: GroupKey,
        mut entry: Entry<D::Item>,
        deliver: D,
    ) -> Result<D::Response, Error> {
        let _admitted = self.shared.admit(entry.size)?;
        let deadline = std::mem::take(&mut entry.deadline);
        let (batch, reader, mut response) = self.join(key, entry, deliver);
        let _waits = batch.deadline.join(deadline);
        // Each caller drives the batch while no other does.
        let result = match select(&mut response, pin!(reader.last())).await {
            Either::Left((result, _)) => result.ok(),
            Either::Right(_) => response.try_recv().ok(),
        };
        result.unwrap_or_else(|| {
            let message = "the batch ended without a response to this call: the code that sends it panicked";
            Err(Error::new(ErrorKind::Other, message).with_charge(Charge::Unknown))
        })
    }

    /// Adds a call to the open batch of its group, or to a new one.
    fn join(&self, key: GroupKey, mut entry: Entry<D::Item>, deliver: D) -> Place<D> {
        let settings = &self.shared.settings;
        // Nothing foreign runs inside but drops of idle groups, which are empty.
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        // A full map would grow with the next group.
        if groups.len() >= Self::MOST && groups.len() == groups.capacity() {
            groups.retain(|_, group| group.arrivals.pending() > 0);
        }
        let group = groups.entry(key).or_insert_with(|| Group::new(settings));
        group.arrivals.arrive(entry.since);
        // Without a runtime there is no timer to wait by.
        let is_idle = settings.sends_idle && group.arrivals.pending() == 0 || Handle::try_current().is_err();
        let mut alone = is_idle.then_some(Flush::IDLE);
        if entry.size.is_oversize(entry.most, entry.tokens_per_item) {
            alone = Some(Flush::OVERSIZE);
        }
        if settings.is_shadow {
            group.watch(&entry, alone, &self.shared);
            alone = Some(Flush::SHADOW);
        }
        if alone.is_none()
            && let (Some(batch), Some(run)) = (group.open.0.upgrade(), group.open.1.upgrade())
            && let Some(reader) = run.subscribe()
        {
            match batch.join(entry, &group.arrivals) {
                Ok(response) => {
                    group.arrivals.gathered(false);
                    return (batch, reader, response);
                }
                Err(refused) => entry = refused,
            }
        }
        let window = Window::open(entry.since, entry.size, entry.most, alone, &group.arrivals);
        let (batch, response) = Batch::open(&self.shared, window, entry, &group.arrivals);
        let run = Broadcast::new(once(Arc::clone(&batch).run(deliver).boxed()));
        if alone.is_none() {
            group.arrivals.gathered(true);
            group.open = (Arc::downgrade(&batch), Arc::downgrade(&run));
        }
        let reader = run.subscribe().expect("it is new");
        (batch, reader, response)
    }
}

impl<D: Deliver> Group<D> {
    fn new(settings: &BatchLayer) -> Self {
        let arrivals = Arrivals::new(settings.max_wait, settings.sends_idle);
        Self { arrivals, open: (Weak::new(), Weak::new()), shadow: None }
    }

    /// Counts a call in shadow mode as if it were gathered. No timer runs: a batch is reported when the next one opens.
    fn watch(&mut self, entry: &Entry<D::Item>, alone: Option<Flush>, shared: &Shared) {
        let Self { arrivals, shadow, .. } = self;
        if alone.is_none()
            && let Some(window) = shadow
            && window.join(entry.since, entry.size, arrivals)
        {
            return arrivals.gathered(false);
        }
        shared.totals().stats.requests += 1;
        let window = Window::open(entry.since, entry.size, entry.most, alone, arrivals);
        let sent = if alone.is_some() { Some(window) } else { shadow.replace(window) };
        if let Some(sent) = sent {
            telemetry::flushed(sent.cause.unwrap_or(Flush::WAIT), sent.fill(), iter::empty(), true);
        }
        if alone.is_none() {
            arrivals.gathered(true);
        }
    }
}
