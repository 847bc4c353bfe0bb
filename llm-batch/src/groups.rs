use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
};

use futures_util::{StreamExt, stream::BoxStream};
use llm_core::{
    Charge, Error, ErrorKind, Priority, Tenant,
    layer::{Broadcast, CallDeadline, DeadlineHandle, Pinned, Reader, SharedDeadline},
};
use tokio::{runtime::Handle, time::Instant};

use crate::{
    deliver::{Deliver, Entry},
    factors::Factors,
    run::run,
    settings::Shared,
    shared_batch::SharedBatch,
    telemetry,
    window::{Flush, Gaps, Window},
};

/// Calls that may share a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupKey {
    pub(crate) merge_key: Vec<u8>,
    pub(crate) tenant: Tenant,
    pub(crate) priority: Priority,
    pub(crate) pinned: Option<Pinned>,
}

/// Groups of one operation.
pub(crate) struct Groups<I, O> {
    shared: Arc<Shared>,
    state: Mutex<State<I, O>>,
}

/// Groups of any operation, for the service that holds them all.
pub(crate) trait AnyGroups: Send + Sync {
    /// Sends all open batches.
    fn flush(&self);
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

struct State<I, O> {
    groups: HashMap<Arc<GroupKey>, Group<I, O>>,
    /// Number of groups at which idle ones are removed.
    sweep_at: usize,
    factors: Factors,
}

struct Group<I, O> {
    gaps: Gaps,
    /// Requests in flight, and batches.
    running: usize,
    open: Option<Open<I, O>>,
    /// The batch that would be open, in shadow mode.
    shadow: Option<Window>,
}

type Stream = BoxStream<'static, ()>;

struct Open<I, O> {
    batch: Arc<SharedBatch<I, O>>,
    flight: Arc<Broadcast<Stream>>,
}

/// A request or batch of a group. Dropped, it has ended.
pub(crate) struct InFlight<I, O> {
    groups: Arc<Groups<I, O>>,
    key: Arc<GroupKey>,
    batch: Option<Arc<SharedBatch<I, O>>>,
}

enum Arrival<I, O> {
    Alone(Entry<I>, InFlight<I, O>),
    Member(Ticket<I, O>),
}

/// Place of a caller in a batch. Dropped, the caller has left.
struct Ticket<I, O> {
    batch: Arc<SharedBatch<I, O>>,
    place: usize,
    reader: Reader<Stream>,
}

impl<I: Clone + Send + 'static, O: Send + 'static> Groups<I, O> {
    const SWEEP_AT: usize = 1_024;

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let state = State { groups: HashMap::new(), sweep_at: Self::SWEEP_AT, factors: Factors::default() };
        Self { shared, state: Mutex::new(state) }
    }

    /// Sends a call, alone or with others of its group.
    pub(crate) async fn submit<D: Deliver<I, O>>(
        self: Arc<Self>,
        key: GroupKey,
        entry: Entry<I>,
        deadline: CallDeadline,
        deliver: D,
    ) -> Result<O, Error> {
        let pending = Shared::admit(Arc::clone(&self.shared), entry.items, entry.tokens)?;
        self.shared.counters.calls.fetch_add(1, Relaxed);
        let result = match self.arrive(key, entry, &deliver) {
            Arrival::Alone(entry, in_flight) => alone(entry, in_flight, deliver).await,
            Arrival::Member(ticket) => {
                let joined = ticket.batch.deadline.join(deadline);
                ticket.wait(joined).await
            }
        };
        drop(pending);
        result
    }

    fn arrive<D: Deliver<I, O>>(self: &Arc<Self>, key: GroupKey, entry: Entry<I>, deliver: &D) -> Arrival<I, O> {
        let settings = &self.shared.settings;
        let now = Instant::now();
        let key = Arc::new(key);
        let mut state = self.lock();
        let tokens = state.factors.scale(&entry.model, entry.tokens);
        let group = state.group(&key, settings.max_wait);
        group.gaps.arrive(now, settings.max_wait);
        let alone = if settings.is_oversize(entry.items, tokens) {
            Some(Flush::Oversize)
        } else if settings.shadow {
            group.watch(now, &entry, tokens, &self.shared);
            None
        } else {
            // Without a runtime there is no timer to wait by.
            (group.running == 0 || Handle::try_current().is_err()).then_some(Flush::Idle)
        };
        if alone.is_some() || settings.shadow {
            group.running += 1;
            drop(state);
            if let Some(cause) = alone {
                self.shared.counters.requests.fetch_add(1, Relaxed);
                telemetry::alone(cause);
            }
            return Arrival::Alone(entry, InFlight { groups: Arc::clone(self), key, batch: None });
        }
        Arrival::Member(self.join(group, key, now, (entry, tokens), deliver))
    }

    /// Adds a call to the open batch of its group, or to a new one.
    fn join<D: Deliver<I, O>>(
        self: &Arc<Self>,
        group: &mut Group<I, O>,
        key: Arc<GroupKey>,
        now: Instant,
        (entry, tokens): (Entry<I>, u64),
        deliver: &D,
    ) -> Ticket<I, O> {
        let settings = &self.shared.settings;
        let items = entry.items;
        let rejects = |window: &mut Window| {
            let rejected = window.rejects(items, tokens, settings);
            (rejected.is_some(), rejected)
        };
        let fits = |open: &Open<I, O>| !open.batch.change(rejects);
        let open = group.open.take_if(|open| fits(open)).and_then(|open| Some((open.flight.subscribe()?, open)));
        let (reader, open) = open.unwrap_or_else(|| {
            let batch = Arc::new(SharedBatch::new(Window::new(now, settings.max_wait)));
            group.running += 1;
            let in_flight = InFlight { groups: Arc::clone(self), key, batch: Some(Arc::clone(&batch)) };
            let flight = Broadcast::new(run(Arc::clone(&batch), in_flight, deliver.clone()));
            (flight.subscribe().expect("it is new"), Open { batch, flight })
        });
        let batch = Arc::clone(&open.batch);
        let place = batch.push(entry, now);
        let gaps = &group.gaps;
        let is_full = batch.change(|window| {
            let full = window.add(now, items, tokens, gaps, settings);
            (full.is_some(), full)
        });
        group.open = if is_full { None } else { Some(open) };
        Ticket { batch, place, reader }
    }
}

impl<I, O> Groups<I, O> {
    fn lock(&self) -> MutexGuard<'_, State<I, O>> {
        // What runs inside leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Send + 'static, O: Send + 'static> AnyGroups for Groups<I, O> {
    fn flush(&self) {
        let mut state = self.lock();
        for open in state.groups.values_mut().filter_map(|group| group.open.take()) {
            open.batch.change(|_| ((), Some(Flush::Close)));
        }
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<I, O> State<I, O> {
    fn group(&mut self, key: &Arc<GroupKey>, longest: std::time::Duration) -> &mut Group<I, O> {
        if self.groups.len() >= self.sweep_at && !self.groups.contains_key(key) {
            self.groups.retain(|_, group| group.running > 0);
            self.sweep_at = (2 * self.groups.len()).max(1_024);
        }
        self.groups.entry(Arc::clone(key)).or_insert_with(|| Group {
            gaps: Gaps::new(longest),
            running: 0,
            open: None,
            shadow: None,
        })
    }
}

impl<I, O> Group<I, O> {
    /// Counts a call in shadow mode as if it were gathered.
    fn watch(&mut self, now: Instant, entry: &Entry<I>, tokens: u64, shared: &Shared) {
        let settings = &shared.settings;
        let open =
            self.shadow.take_if(|window| window.due() < now || window.rejects(entry.items, tokens, settings).is_some());
        if let Some(over) = open {
            let cause = over.is_due(now).unwrap_or(Flush::Items);
            telemetry::shadow(cause, over.items(), settings.limits.items);
        }
        let is_idle = self.running == 0;
        if self.shadow.is_none() {
            shared.counters.requests.fetch_add(1, Relaxed);
        }
        if is_idle && self.shadow.is_none() {
            return;
        }
        let window = self.shadow.get_or_insert_with(|| Window::new(now, settings.max_wait));
        if let Some(cause) = window.add(now, entry.items, tokens, &self.gaps, settings) {
            telemetry::shadow(cause, window.items(), settings.limits.items);
            self.shadow = None;
        }
    }
}

impl<I, O> InFlight<I, O> {
    pub(crate) fn shared(&self) -> &Shared {
        &self.groups.shared
    }

    /// Admits no further callers to the batch.
    pub(crate) fn close_batch(&self) {
        let mut state = self.groups.lock();
        let open = state.groups.get_mut(&self.key).and_then(|group| {
            group.open.take_if(|open| self.batch.as_ref().is_some_and(|batch| Arc::ptr_eq(batch, &open.batch)))
        });
        drop(state);
        drop(open);
    }

    /// Learns how far the estimate of a request was off, if all responses state their usage.
    pub(crate) fn learn<D: Deliver<I, O>>(&self, model: &Arc<str>, estimated: u64, results: &[Result<O, Error>]) {
        let used = |result: &Result<O, Error>| D::used(result.as_ref().ok()?);
        let sum = results.iter().try_fold(0_u64, |sum, result| Some(sum.saturating_add(used(result)?)));
        if let Some(used) = sum {
            self.groups.lock().factors.learn(model, estimated, used);
        }
    }
}

impl<I, O> Drop for InFlight<I, O> {
    fn drop(&mut self) {
        if self.batch.is_some() {
            self.close_batch();
        }
        if let Some(group) = self.groups.lock().groups.get_mut(&self.key) {
            group.running -= 1;
        }
    }
}

/// Sends a call that shares its request with no other.
async fn alone<I: Clone + Send + 'static, O: Send + 'static, D: Deliver<I, O>>(
    entry: Entry<I>,
    in_flight: InFlight<I, O>,
    deliver: D,
) -> Result<O, Error> {
    let mut results = deliver.deliver(vec![entry.item], SharedDeadline::new()).await;
    in_flight.learn::<D>(&entry.model, entry.tokens, &results);
    results.pop().unwrap_or_else(|| Err(ended(true)))
}

impl<I, O> Ticket<I, O> {
    /// Waits for the result, and drives the batch if no other caller does.
    async fn wait(mut self, deadline: DeadlineHandle) -> Result<O, Error> {
        loop {
            if let Some(result) = self.batch.result(self.place) {
                drop(deadline);
                return result;
            }
            if self.reader.next().await.is_none() {
                let is_sent = self.batch.is_sent(self.place);
                return self.batch.result(self.place).unwrap_or_else(|| Err(ended(is_sent)));
            }
        }
    }
}

impl<I, O> Drop for Ticket<I, O> {
    fn drop(&mut self) {
        self.batch.leave(self.place);
    }
}

/// Returns the error of a batch that ended without a result.
fn ended(is_sent: bool) -> Error {
    let charge = if is_sent { Charge::Unknown } else { Charge::None };
    Error::new(ErrorKind::Other, "the batch ended without a response to this call: the code that sends it panicked")
        .with_charge(charge)
}
