//! Single flight: callers with equal requests share one running call.
//!
//! The table has one row for each item of a running call. A caller subscribes to the calls that it finds for its items,
//! and starts one call for all its other items. The caller holds the lock of the table meanwhile, so that no second
//! call for an item can start.
//!
//! A call is a future that its waiters poll. The call runs while a [`WaiterHandle`] exists. An item of the call is
//! removed from the table when its [`Guard`] is dropped, after its response is stored. When the last handle is dropped,
//! the call is cancelled, or a background task completes it.
//!
//! A caller does not join a call
//!
//! - of another priority, because a background call may have to wait,
//! - that began before a tag of the call or of the caller was invalidated,
//! - that is polling the caller, because the call would wait for itself.

use std::{
    any::Any,
    collections::HashMap,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use foldhash::quality::RandomState;
use futures_core::Stream;
use futures_util::stream::{self, Once};
use llm_core::{
    Priority,
    layer::{Broadcast, CallDeadline, DeadlineHandle, Reader, SharedDeadline},
};
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};

use super::List;
use crate::{Key, store::Provenance, tasks::Tasks};

/// Table of running calls.
#[derive(Default)]
pub(crate) struct SingleFlights {
    table: Mutex<Table>,
    /// Tasks that complete calls without waiters; `None` if such calls are cancelled.
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
    /// The call as a `SharedCall<V>`, where `V` is the result type of the key's calls; `None` if no caller can join it.
    call: Option<Weak<dyn Any + Send + Sync>>,
    /// Data for completing the call in the background; `None` if the call is cancelled when it has no waiters.
    detach: Option<Detach>,
    /// Deadlines of the waiters; `None` for a call that is completed without waiters, or that no caller can join.
    deadline: Option<SharedDeadline>,
}

/// Data for completing a call in the background after its last handle was dropped.
#[derive(Clone)]
struct Detach {
    tasks: Arc<Tasks>,
    /// Reference to a value that the guards of the call hold. The value is dropped when the call has ended.
    running: Weak<()>,
}

/// Guard that keeps an item in the table of running calls. After the guard is dropped, later callers send calls of
/// their own.
pub(crate) struct Guard {
    single_flights: Arc<SingleFlights>,
    name: Name,
    id: u64,
    /// Value that the guards of one call share, so that [`Detach`] can detect the end of the call.
    _running: Option<Arc<()>>,
}

/// Handle of a waiter for one item of a call. The call runs as long as a handle exists. If the last handle is dropped
/// before the call has ended, the call is cancelled or completed in the background.
pub(crate) struct WaiterHandle<V: Completion> {
    reader: Option<Reader<Once<Start<V>>>>,
    /// Index of the item among the items of the call.
    at: usize,
    detach: Option<Detach>,
    /// Handle that keeps the waiter's deadline among those of the call.
    _deadline: Option<DeadlineHandle>,
}

/// Result for an item, whose response may still run.
pub(crate) trait Completion: Clone + Send + Sync + 'static {
    /// Returns a future that reads the response to its end; `None` if the response has ended.
    fn completion(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>>;
}

/// Future of a call. It returns a result for each item of the call.
pub(crate) type Start<V> = Pin<Box<dyn Future<Output = Arc<List<V>>> + Send>>;

/// Running call: a stream of one item, which all waiters read.
type SharedCall<V> = Broadcast<Once<Start<V>>>;

/// Terms on which a caller joins a running call.
pub(crate) struct JoinTerms<'a> {
    pub(crate) priority: Priority,
    pub(crate) deadline: &'a CallDeadline,
    pub(crate) provenance: &'a Provenance,
    /// Decides if the caller may join a call of this provenance: see
    /// [`Entries::joins`](crate::entries::Entries::joins).
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
    /// Creates an empty table. `finish` completes calls without waiters; without `finish`, such calls are cancelled.
    pub(crate) fn new(finish: Option<Arc<Tasks>>) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), finish })
    }

    /// Joins the running call of each key, or starts one call for all keys without a running one. `call` creates that
    /// call, given the indices and guards of these keys and the shared deadline of the call's waiters. `call` runs
    /// while the table is locked.
    ///
    /// A new call must look its entries up first. An earlier call stores its response before it is removed from the
    /// table, so that a caller that finds no running call finds the entry.
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
            let running = table.running.get(&name).filter(|running| (terms.joins)(&running.provenance));
            let joined = running.and_then(|running| {
                let call = running.call()?;
                // A call that requests its own response would wait for itself.
                let reader = if call.is_polled_here() { None } else { call.subscribe() };
                known.push(call);
                let at = usize::try_from(running.id - running.batch.first).unwrap_or_default();
                let _deadline = running.deadline.as_ref().map(|deadline| deadline.join(terms.deadline.clone()));
                let handle = WaiterHandle { reader: Some(reader?), at, detach: running.detach.clone(), _deadline };
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
        // A call that is completed without waiters has no deadline.
        let (running, deadline) = match &self.finish {
            Some(_) => (Some(Arc::new(())), None),
            None => (None, Some(SharedDeadline::new())),
        };
        let detach = self.finish.as_ref().zip(running.as_ref());
        let detach =
            detach.map(|(tasks, running)| Detach { tasks: Arc::clone(tasks), running: Arc::downgrade(running) });
        let guard = |((at, name), id): ((usize, Name), u64)| {
            (at, Guard { single_flights: Arc::clone(self), name, id, _running: running.clone() })
        };
        let guards = names.iter().cloned().zip(batch.first..).map(guard).collect();
        let call: Arc<SharedCall<V>> = Broadcast::new(stream::once(call(guards, deadline.clone())));
        for (nth, (at, name)) in names.into_iter().enumerate() {
            table.last_id += 1;
            // The leader is one waiter, so only the handle of its first item holds the leader's deadline.
            let _deadline =
                deadline.as_ref().filter(|_| nth == 0).map(|deadline| deadline.join(terms.deadline.clone()));
            let handle = WaiterHandle { reader: call.subscribe(), at: nth, detach: detach.clone(), _deadline };
            all[at] = Some(Joined { handle, led: true, batch });
            let call: Weak<SharedCall<V>> = Arc::downgrade(&call);
            let (call, provenance) = (Some(call as _), terms.provenance.clone());
            let (detach, deadline) = (detach.clone(), deadline.clone());
            table.running.insert(name, Running { id: table.last_id, batch, provenance, call, detach, deadline });
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
        let running = Running { id, batch: Batch::default(), provenance, call: None, detach: None, deadline: None };
        // The old item is dropped after the table is unlocked.
        let _replaced = table.running.insert(name.clone(), running);
        drop(table);
        Some(Guard { single_flights: Arc::clone(self), name, id, _running: None })
    }

    /// Returns `true` if a call runs under `key`, of any priority.
    pub(crate) fn is_running(&self, key: &Key) -> bool {
        let table = self.lock();
        [Priority::Interactive, Priority::Background]
            .iter()
            .any(|class| table.running.contains_key(&(key.clone(), *class)))
    }

    /// Returns the number of items of running calls.
    pub(crate) fn count(&self) -> usize {
        self.lock().running.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a call for several items outside of the table, so that no other caller can join the call.
pub(crate) fn lead_alone<V: Completion>(items: usize, call: Start<V>) -> List<Joined<V>> {
    let call: Arc<SharedCall<V>> = Broadcast::new(stream::once(call));
    let handle = |at| WaiterHandle { reader: call.subscribe(), at, detach: None, _deadline: None };
    (0..items).map(|at| Joined { handle: handle(at), led: true, batch: Batch::default() }).collect()
}

impl Running {
    fn call<V: Completion>(&self) -> Option<Arc<SharedCall<V>>> {
        self.call.as_ref()?.upgrade()?.downcast().ok()
    }
}

impl<V: Completion> Drop for WaiterHandle<V> {
    fn drop(&mut self) {
        let (Some(reader), Some(detach)) = (self.reader.take(), &self.detach) else { return };
        let Some(reader) = reader.leave_unless_last() else { return };
        if detach.running.strong_count() == 0 {
            return;
        }
        // The background task reads the results in place of a waiter, so that the call continues and later callers can
        // join it.
        let Some(slot) = detach.tasks.detached_slot() else { return };
        slot.run(async move {
            // A new reader is needed, because that of the dropped handle may have read the results already.
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

impl Drop for Guard {
    fn drop(&mut self) {
        let mut table = self.single_flights.lock();
        // A later call may have replaced this item, because its caller could not join the call of this item.
        if table.running.get(&self.name).is_some_and(|running| running.id == self.id) {
            // The old item is dropped after the table is unlocked.
            let _ended = table.running.remove(&self.name);
            drop(table);
        }
    }
}

/// Time until a waiter polls its calls for the first time without being woken. The time doubles with each such poll.
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
