//! Single flight: callers with equal requests share one running call.
//!
//! The table has one row for each item of a running call. A caller subscribes to the calls that it finds for its items,
//! and starts one call for all its other items. The table stays locked meanwhile, so that no second call for an item
//! can start.
//!
//! A call is a future that its waiters poll. It runs while a [`WaiterHandle`] exists, and leaves the table when its
//! [`Guard`] is dropped, after its response is stored. The last waiter that leaves cancels the call, or lets a
//! background task complete it.
//!
//! A caller does not join a call
//!
//! - of another priority, because a background call may have to wait,
//! - that began before a tag of the call or of the caller was invalidated,
//! - that is polling the caller, because the call would wait for itself.

use std::{
    any::Any,
    cell::RefCell,
    collections::HashMap,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use foldhash::quality::RandomState;
use futures_core::Stream;
use llm_core::{
    Priority,
    layer::{Broadcast, CallDeadline, DeadlineHandle, Reader, SharedDeadline},
};
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};

use super::List;
use crate::{
    Key,
    store::Provenance,
    tasks::{Slot, Tasks},
};

/// Table of running calls.
#[derive(Default)]
pub(crate) struct SingleFlights {
    table: Mutex<Table>,
    /// Completes calls that their last waiter has left; `None` if such calls are cancelled.
    finish: Option<Arc<Tasks>>,
}

#[derive(Default)]
struct Table {
    running: HashMap<Name, Running, RandomState>,
    last_id: u64,
}

/// Name of an item of a running call. Calls of different priorities are separate, because a background call may have to
/// wait.
type Name = (Key, Priority);

/// Item of a running call.
struct Running {
    /// Number of the item, greater than those of all earlier items.
    id: u64,
    /// Items of the call that this item belongs to.
    batch: Batch,
    /// Start of the call and tags of its response, which decide whether a caller may join it.
    provenance: Provenance,
    /// The call as a `Broadcast<Once<V>>`, where `V` is the result type of the key's calls; `None` if no caller can
    /// join it.
    call: Option<Weak<dyn Any + Send + Sync>>,
    /// Waiter count of a call that is completed in the background; `None` for one that is cancelled.
    waiters: Option<Arc<WaiterCount>>,
    /// Deadlines of the waiters; `None` for a call that is completed without them.
    deadline: Option<SharedDeadline>,
}

/// Waiter count of a call that is completed when all waiters have left.
struct WaiterCount {
    waiters: AtomicUsize,
    /// Number of the call's items that are still in the table.
    running: AtomicUsize,
    background: Arc<Tasks>,
}

/// Keeps an item in the table of running calls until it is dropped. Later callers then send calls of their own.
pub(crate) struct Guard {
    single_flights: Arc<SingleFlights>,
    name: Name,
    id: u64,
    waiters: Option<Arc<WaiterCount>>,
}

/// Handle of a waiter for one item of a call. The call runs as long as a handle exists. If the last handle is dropped
/// before the call has ended, the call is cancelled or completed in the background.
pub(crate) struct WaiterHandle<V: Completion> {
    reader: Option<Reader<Once<V>>>,
    /// Index of the item among the items of the call.
    at: usize,
    waiters: Option<Arc<WaiterCount>>,
    /// Keeps the waiter's deadline among those of the call.
    _deadline: Option<DeadlineHandle>,
}

/// Result for an item, whose response may still run.
pub(crate) trait Completion: Clone + Send + Sync + 'static {
    /// Returns a future that reads the response to its end; `None` if the response has ended.
    fn completion(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>>;
}

/// Future of a call. It returns a result for each item of the call.
pub(crate) type Start<V> = Pin<Box<dyn Future<Output = List<V>> + Send>>;

/// Terms on which a caller joins a running call.
pub(crate) struct JoinTerms<'a> {
    pub(crate) priority: Priority,
    pub(crate) deadline: &'a CallDeadline,
    pub(crate) provenance: &'a Provenance,
    /// Decides whether the caller may join a call of this provenance: see [`Entries::joins`](crate::entries::Entries::joins).
    pub(crate) joins: &'a (dyn Fn(&Provenance) -> bool + Sync),
}

/// Result of [`SingleFlights::join_or_lead`] for one key.
pub(crate) struct Joined<V: Completion> {
    pub(crate) handle: WaiterHandle<V>,
    /// True if the caller leads the call.
    pub(crate) led: bool,
    pub(crate) batch: Batch,
}

/// Items of one call, by their numbers. Empty if no caller can join the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Batch {
    /// Number of the first item.
    first: u64,
    /// Number of items.
    pub(crate) items: usize,
}

impl SingleFlights {
    /// Creates an empty table. `finish` completes calls that all waiters have left.
    pub(crate) fn new(finish: Option<Arc<Tasks>>) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), finish })
    }

    /// Joins the running call of each key, or starts one call for all keys without a running one. `call` creates that
    /// call, given the indices of these keys and the deadline of its waiters. It runs while the table is locked.
    ///
    /// A new call must look its entries up first. An earlier call stores its response before it leaves the table, so
    /// that a caller that finds no running call finds the entry.
    pub(crate) fn join_or_lead<'k, V: Completion>(
        self: &Arc<Self>,
        keys: impl Iterator<Item = &'k Key>,
        terms: &JoinTerms<'_>,
        call: impl FnOnce(List<(usize, Guard)>, Option<SharedDeadline>) -> Start<V>,
    ) -> List<Joined<V>> {
        // The last reference to a call must not be dropped while the table is locked. Therefore these references
        // outlive the lock.
        let mut known = List::new();
        let mut table = self.lock();
        let (mut all, mut led) = (List::new(), List::new());
        for (at, key) in keys.enumerate() {
            let name = (key.clone(), terms.priority);
            let running = table.running.get(&name).filter(|running| {
                // A call that requests its own response would wait for itself.
                (terms.joins)(&running.provenance) && !is_being_polled(self, running.batch)
            });
            let joined = running.and_then(|running| {
                let (call, waiters) = (running.call()?, running.waiters.clone());
                let reader = call.subscribe();
                known.push(call);
                let at = usize::try_from(running.id - running.batch.first).unwrap_or_default();
                let deadline = running.deadline.as_ref().map(|deadline| deadline.join(terms.deadline.clone()));
                let handle = WaiterHandle::new(reader?, at, waiters, deadline);
                Some(Joined { handle, led: false, batch: running.batch })
            });
            if joined.is_none() {
                led.push((at, name));
            }
            all.push(joined);
        }
        if !led.is_empty() {
            self.lead(&mut table, led, terms, call, &mut all);
        }
        drop(table);
        all.into_iter().map(|joined| joined.expect("a call is started for each key without one")).collect()
    }

    /// Starts one call for some keys, and adds its items to the table.
    fn lead<V: Completion>(
        self: &Arc<Self>,
        table: &mut Table,
        names: List<(usize, Name)>,
        terms: &JoinTerms<'_>,
        call: impl FnOnce(List<(usize, Guard)>, Option<SharedDeadline>) -> Start<V>,
        all: &mut [Option<Joined<V>>],
    ) {
        let batch = Batch { first: table.last_id + 1, items: names.len() };
        let waiters = self.finish.as_ref().map(|background| WaiterCount::new(background, batch.items));
        let guard = |((at, name), id): ((usize, Name), u64)| {
            (at, Guard { single_flights: Arc::clone(self), name, id, waiters: waiters.clone() })
        };
        let guards = names.iter().cloned().zip(batch.first..).map(guard).collect();
        // A call that is completed without waiters has no deadline.
        let deadline = self.finish.is_none().then(SharedDeadline::new);
        let call = Once { call: Some(call(guards, deadline.clone())), polled: Some((Arc::downgrade(self), batch)) };
        let call = Broadcast::new(call);
        for (nth, (at, name)) in names.into_iter().enumerate() {
            table.last_id += 1;
            // The leader counts as one caller, so only its first item has its deadline.
            let own = deadline.as_ref().filter(|_| nth == 0).map(|deadline| deadline.join(terms.deadline.clone()));
            let handle = |reader| WaiterHandle::new(reader, nth, waiters.clone(), own);
            all[at] = call.subscribe().map(|reader| Joined { handle: handle(reader), led: true, batch });
            let call: Arc<dyn Any + Send + Sync> = Arc::clone(&call) as _;
            let (call, provenance) = (Some(Arc::downgrade(&call)), terms.provenance.clone());
            let (waiters, deadline) = (waiters.clone(), deadline.clone());
            table.running.insert(name, Running { id: table.last_id, batch, provenance, call, waiters, deadline });
        }
    }

    /// Adds to the table a call that no caller can join. Returns `None` if a call is running that the caller could
    /// join.
    pub(crate) fn enter(self: &Arc<Self>, key: &Key, terms: &JoinTerms<'_>) -> Option<Guard> {
        let name = (key.clone(), terms.priority);
        let mut table = self.lock();
        if table.running.get(&name).is_some_and(|running| (terms.joins)(&running.provenance)) {
            return None;
        }
        table.last_id += 1;
        let (id, provenance) = (table.last_id, terms.provenance.clone());
        let running = Running { id, batch: Batch::default(), provenance, call: None, waiters: None, deadline: None };
        // Dropped outside the lock.
        let _replaced = table.running.insert(name.clone(), running);
        drop(table);
        Some(Guard { single_flights: Arc::clone(self), name, id, waiters: None })
    }

    /// Returns true if a call runs under `key`, of any priority.
    pub(crate) fn is_running(&self, key: &Key) -> bool {
        let table = self.lock();
        [Priority::Interactive, Priority::Background]
            .iter()
            .any(|class| table.running.contains_key(&(key.clone(), *class)))
    }

    /// Number of running calls.
    pub(crate) fn count(&self) -> usize {
        self.lock().running.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a call for several items that is in no table, so that no other caller can join it.
pub(crate) fn lead_alone<V: Completion>(items: usize, call: Start<V>) -> List<Joined<V>> {
    let call = Broadcast::new(Once { call: Some(call), polled: None });
    let joined =
        |(at, reader)| Joined { handle: WaiterHandle::new(reader, at, None, None), led: true, batch: Batch::default() };
    (0..items).filter_map(|at| Some((at, call.subscribe()?))).map(joined).collect()
}

impl Running {
    fn call<V: Completion>(&self) -> Option<Arc<Broadcast<Once<V>>>> {
        self.call.as_ref()?.upgrade()?.downcast().ok()
    }
}

impl<V: Completion> WaiterHandle<V> {
    fn new(
        reader: Reader<Once<V>>,
        at: usize,
        waiters: Option<Arc<WaiterCount>>,
        deadline: Option<DeadlineHandle>,
    ) -> Self {
        if let Some(waiters) = &waiters {
            waiters.waiters.fetch_add(1, Ordering::AcqRel);
        }
        Self { reader: Some(reader), at, waiters, _deadline: deadline }
    }
}

impl<V: Completion> Drop for WaiterHandle<V> {
    fn drop(&mut self) {
        let (Some(reader), Some(waiters)) = (self.reader.take(), &self.waiters) else { return };
        // The background task reads the results in place of a waiter, so that the call continues and later callers can
        // join it.
        let Some(slot) = waiters.leave() else { return };
        slot.run(async move {
            // A new reader is needed, because this one may have read the results already.
            let Some(mut again) = reader.resubscribe() else { return Ok(()) };
            let mut results = None;
            await_calls(|cx| Pin::new(&mut again).poll_next(cx).map(|values| results = values)).await;
            for rest in results.iter().flat_map(|results| results.iter()).filter_map(V::completion) {
                rest.await;
            }
            Ok(())
        });
    }
}

impl WaiterCount {
    fn new(background: &Arc<Tasks>, items: usize) -> Arc<Self> {
        let (waiters, running) = (AtomicUsize::new(0), AtomicUsize::new(items));
        Arc::new(Self { waiters, running, background: Arc::clone(background) })
    }

    /// Counts one waiter less. Returns a slot for the call if that was the last waiter, the call has not ended, and a
    /// slot is free.
    fn leave(&self) -> Option<Slot> {
        let is_last = self.waiters.fetch_sub(1, Ordering::AcqRel) == 1;
        let is_running = self.running.load(Ordering::Acquire) > 0;
        let slot = (is_last && is_running).then(|| self.background.detached_slot()).flatten()?;
        // From now on the background task counts as a waiter, so that no later waiter is the last one.
        self.waiters.fetch_add(1, Ordering::AcqRel);
        Some(slot)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(waiters) = &self.waiters {
            waiters.running.fetch_sub(1, Ordering::AcqRel);
        }
        let mut table = self.single_flights.lock();
        // Another call may have replaced a call that all waiters left.
        if table.running.get(&self.name).is_some_and(|running| running.id == self.id) {
            // Dropped outside the lock.
            let _ended = table.running.remove(&self.name);
            drop(table);
        }
    }
}

/// Stream of one item: the results of a call.
pub(crate) struct Once<V> {
    call: Option<Start<V>>,
    /// Table and items of the call; `None` if it is in no table.
    polled: Option<Polled>,
}

impl<V: Completion> Stream for Once<V> {
    type Item = Arc<List<V>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { call: slot, polled } = &mut *self;
        let Some(call) = slot else { return Poll::Ready(None) };
        let results = {
            let _polled = polled.as_ref().map(PolledHere::new);
            ready!(call.as_mut().poll(cx))
        };
        *slot = None;
        Poll::Ready(Some(Arc::new(results)))
    }
}

/// Table that a call is in, and the items of the call.
type Polled = (Weak<SingleFlights>, Batch);

thread_local! {
    /// Calls that this thread is polling, the innermost last.
    static POLLED: RefCell<Vec<Polled>> = const { RefCell::new(Vec::new()) };
}

/// Marks a call as polled by this thread until it is dropped.
struct PolledHere;

impl PolledHere {
    fn new(call: &Polled) -> Self {
        POLLED.with_borrow_mut(|polled| polled.push(call.clone()));
        Self
    }
}

impl Drop for PolledHere {
    fn drop(&mut self) {
        // Dropped outside of the cell, because dropping it may run code of this module again.
        let _last = POLLED.with_borrow_mut(Vec::pop);
    }
}

fn is_being_polled(single_flights: &Arc<SingleFlights>, batch: Batch) -> bool {
    let is = |(table, known): &Polled| table.as_ptr() == Arc::as_ptr(single_flights) && *known == batch;
    POLLED.with_borrow(|polled| polled.iter().any(is))
}

/// Time after which a waiter first polls its calls without having been woken. It doubles each time.
const FIRST_POLL: Duration = Duration::from_secs(1);
/// Longest time after which a waiter polls its calls without having been woken.
const MAX_POLL: Duration = Duration::from_secs(60);

/// Awaits the results of some items, in order. The result is `None` for an item whose call panicked.
pub(crate) async fn await_all<V: Completion>(joined: &mut [Joined<V>]) -> List<Option<V>> {
    let mut results: List<Option<Option<V>>> = joined.iter().map(|_| None).collect();
    await_calls(|cx| {
        let mut all = Poll::Ready(());
        for (result, Joined { handle, .. }) in
            results.iter_mut().zip(&mut *joined).filter(|(result, _)| result.is_none())
        {
            let Some(reader) = &mut handle.reader else { continue };
            match Pin::new(reader).poll_next(cx) {
                Poll::Ready(values) => *result = Some(values.and_then(|values| values.get(handle.at).cloned())),
                Poll::Pending => all = Poll::Pending,
            }
        }
        all
    })
    .await;
    results.into_iter().map(Option::flatten).collect()
}

/// Polls running calls until `poll` is ready.
///
/// The waiter that is woken to poll a call may be held by its caller without being polled. Therefore each waiter also
/// polls its calls from time to time without being woken, if it runs in a tokio runtime with timers.
async fn await_calls(mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>) {
    let mut interval = FIRST_POLL;
    let mut alarm: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        loop {
            if poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if alarm.is_none() && Handle::try_current().is_err() {
                return Poll::Pending;
            }
            ready!(alarm.get_or_insert_with(|| Box::pin(sleep(interval))).as_mut().poll(cx));
            interval = (interval * 2).min(MAX_POLL);
            alarm = None;
        }
    })
    .await;
}
