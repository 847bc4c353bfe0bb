//! Groups of calls that may share a request, and the way of a call into a batch.

use std::{
    collections::HashMap,
    iter,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Either, select},
    stream::{Once, once},
};
use llm_core::{
    Charge, Error, ErrorKind, Priority, Tenant,
    layer::{Broadcast, CallDeadline, Pinned, Reader},
};
use tokio::{runtime::Handle, time::Instant};

use super::{
    batch::{Batch, Deliver, Entry, Response},
    shared::Shared,
    telemetry,
    window::{Flush, Gaps, Window},
};

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
    shared: Arc<Shared>,
    groups: Mutex<HashMap<GroupKey, Group<D>>>,
}

/// State of one group. It is forgotten while idle if there are many.
struct Group<D: Deliver> {
    gaps: Gaps,
    /// Held by each batch that is open or in flight.
    running: Arc<()>,
    /// The last batch that was opened; gone with its callers.
    open: Weak<Driven<D>>,
    /// The batch that would be open, in shadow mode.
    shadow: Option<Window>,
}

type Run = Once<BoxFuture<'static, ()>>;

/// A batch, and what its callers drive.
struct Driven<D: Deliver> {
    batch: Arc<Batch<D>>,
    run: Arc<Broadcast<Run>>,
}

/// Place of a caller in a batch. Dropped, the caller has left.
type Place<D> = (Arc<Driven<D>>, Reader<Run>, Response<D>);

impl<D: Deliver> Groups<D> {
    /// Number of groups beyond which idle ones are forgotten.
    const MOST: usize = 1_024;

    pub(crate) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { shared: Arc::clone(shared), groups: Mutex::default() })
    }

    /// Sends a call, alone or with others of its group.
    ///
    /// # Errors
    ///
    /// `Closed` and `Overloaded` before it waits; the error of its request, or of a run that panicked.
    pub(crate) async fn submit(
        self: Arc<Self>,
        key: GroupKey,
        entry: Entry<D::Item>,
        deadline: CallDeadline,
        deliver: D,
    ) -> Result<D::Response, Error> {
        let _admitted = self.shared.admit(entry.size)?;
        let (driven, reader, mut response) = self.join(key, entry, deliver);
        let _waits = driven.batch.deadline.join(deadline);
        // Each caller drives the batch while no other does.
        let result = match select(&mut response, std::pin::pin!(reader.last())).await {
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
        let (now, settings) = (Instant::now(), &self.shared.settings);
        // Nothing foreign runs inside but drops of idle groups, which are empty.
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        // A full map would grow with the next group.
        if groups.len() >= Self::MOST && groups.len() == groups.capacity() {
            groups.retain(|_, group| group.is_running());
        }
        let group = groups.entry(key).or_insert_with(|| Group::new(Gaps::new(settings.max_wait)));
        group.gaps.arrive(now);
        // Without a runtime there is no timer to wait by.
        let is_idle = settings.sends_idle && !group.is_running() || Handle::try_current().is_err();
        let mut alone = is_idle.then_some(Flush::IDLE);
        if entry.size.is_oversize(&entry.limits) {
            alone = Some(Flush::OVERSIZE);
        }
        if settings.is_shadow {
            group.watch(now, &entry, alone, &self.shared);
            alone = Some(Flush::SHADOW);
        }
        if alone.is_none()
            && let Some(driven) = group.open.upgrade()
            && let Some(reader) = driven.run.subscribe()
        {
            match driven.batch.join(now, entry, &group.gaps) {
                Ok(response) => return (driven, reader, response),
                Err(refused) => entry = refused,
            }
        }
        let batch = Arc::new(Batch::new(Window::new(now, &entry.limits), alone));
        let response = batch.open(now, entry, &group.gaps);
        let (run, running) = (Arc::clone(&batch).run(Arc::clone(&self.shared), deliver), Arc::clone(&group.running));
        let run = Broadcast::new(once(run.map(|()| drop(running)).boxed()));
        let reader = run.subscribe().expect("it is new");
        let driven = Arc::new(Driven { batch, run });
        if alone.is_none() {
            group.open = Arc::downgrade(&driven);
        }
        (driven, reader, response)
    }
}

impl<D: Deliver> Group<D> {
    fn new(gaps: Gaps) -> Self {
        Self { gaps, running: Arc::default(), open: Weak::new(), shadow: None }
    }

    /// Returns `true` if a batch is open or in flight.
    fn is_running(&self) -> bool {
        Arc::strong_count(&self.running) > 1
    }

    /// Counts a call in shadow mode as if it were gathered. No timer runs: a batch whose time is over is counted when the next
    /// call comes.
    fn watch(&mut self, now: Instant, entry: &Entry<D::Item>, alone: Option<Flush>, shared: &Shared) {
        let report = |cause, fill| telemetry::flushed(cause, fill, iter::empty(), true);
        if let Some(window) = &self.shadow
            && let Some(cause) = (window.due < now).then_some(Flush::WAIT).or_else(|| window.rejects(entry.size))
        {
            report(cause, window.fill());
            self.shadow = None;
        }
        if alone.is_some() || self.shadow.is_none() {
            shared.totals().stats.requests += 1;
        }
        if let Some(cause) = alone {
            return report(cause, (entry.size.items, entry.limits.items));
        }
        let window = self.shadow.get_or_insert_with(|| Window::new(now, &entry.limits));
        if let Some(cause) = window.add(now, entry.size, &self.gaps) {
            report(cause, window.fill());
            self.shadow = None;
        }
    }
}
