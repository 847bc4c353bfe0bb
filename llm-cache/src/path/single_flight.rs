//! Single flight: callers with equal requests share one running call.

use std::{
    any::Any,
    cell::RefCell,
    collections::HashMap,
    future::Future,
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
    layer::{Broadcast, Reader},
};
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};

use crate::{
    Key,
    counts::Counts,
    store::Provenance,
    tasks::{Slot, Tasks},
};

/// Table of running calls.
#[derive(Default)]
pub(crate) struct SingleFlights {
    table: Mutex<Table>,
    /// Runs calls to their end that their last waiter has left, if set.
    finish: Option<Arc<Tasks>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Table {
    running: HashMap<Name, Running, RandomState>,
    next_id: u64,
}

/// Name of a running call. Calls of different priority are separate because one in the background may have to wait.
type Name = (Key, Priority);

struct Running {
    id: u64,
    batch: Batch,
    provenance: Provenance,
    /// A `Weak<Broadcast<Once<V>>>` of the type that this key's calls have.
    broadcast: Box<dyn Any + Send>,
    waiters: Option<Arc<WaiterCount>>,
}

/// Waiter count of a call that is completed when all waiters have left.
struct WaiterCount {
    count: AtomicUsize,
    detached: Arc<DetachedCall>,
    flights: Weak<SingleFlights>,
    name: Name,
    id: u64,
}

/// Place in the background for all items of one detached call.
struct DetachedCall {
    background: Arc<Tasks>,
    slot: Mutex<Weak<Slot>>,
    counts: Arc<Counts>,
}

/// Keeps a call in the table of running calls until it is dropped. Later callers then send calls of their own.
pub(crate) struct Guard {
    flights: Arc<SingleFlights>,
    name: Name,
    id: u64,
}

/// Waiter handle: the call runs while there is one. If the last is dropped before the call has ended, the call is
/// cancelled or goes on in the background.
pub(crate) struct WaiterHandle<V: Completion> {
    reader: Option<Reader<Once<V>>>,
    waiters: Option<Arc<WaiterCount>>,
}

/// Result of a call. A response may be shared before it has ended.
pub(crate) trait Completion: Clone + Send + 'static {
    /// Returns a future that completes the response, if it has not ended.
    fn completion(self) -> Option<Start<()>>;
}

/// A call that has not begun.
pub(crate) type Start<V> = Pin<Box<dyn Future<Output = V> + Send>>;

/// Terms on which a caller joins a running call.
pub(crate) struct JoinTerms<'a> {
    pub(crate) priority: Priority,
    pub(crate) provenance: &'a Provenance,
    /// Decides whether the caller may join a call of this provenance: see [`Inner::joins`](crate::inner::Inner::joins).
    pub(crate) joins: &'a (dyn Fn(&Provenance) -> bool + Sync),
}

/// Result of [`SingleFlights::join_or_lead`] for one key.
pub(crate) struct Joined<V: Completion> {
    pub(crate) handle: WaiterHandle<V>,
    /// True if the caller leads the call.
    pub(crate) led: bool,
    pub(crate) batch: Batch,
}

/// The items of one call, which were started together. Empty if no caller can join it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Batch {
    /// Number of the first.
    first: u64,
    /// Number of items.
    pub(crate) items: usize,
}

impl SingleFlights {
    /// Creates an empty table. Calls that all waiters have left go on in `finish`, if it is set.
    pub(crate) fn new(finish: Option<Arc<Tasks>>, counts: Arc<Counts>) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), finish, counts })
    }

    /// Joins the running call of each key, or starts one. `calls` makes all calls to start at once, in the order given, so
    /// that one request upstream can serve several keys. It runs while the table is locked.
    ///
    /// A call that is started looks the entry up first: a call that ran before stores its response before it leaves the
    /// table, so a caller that finds no running call finds the entry.
    pub(crate) fn join_or_lead<V: Completion>(
        self: &Arc<Self>,
        keys: &[Key],
        terms: &JoinTerms<'_>,
        calls: impl FnOnce(Vec<(usize, Guard)>) -> Vec<Start<V>>,
    ) -> Vec<Joined<V>> {
        // The last reference to a call must not be dropped while the table is locked, so these outlive the lock.
        let mut known = Vec::new();
        let detached = self.finish.as_ref().map(|background| {
            Arc::new(DetachedCall {
                background: Arc::clone(background),
                slot: Mutex::default(),
                counts: Arc::clone(&self.counts),
            })
        });
        let mut table = self.lock();
        let first = table.next_id;
        let mut joined_all: Vec<Option<Joined<V>>> = Vec::with_capacity(keys.len());
        let mut guards = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let name = (key.clone(), terms.priority);
            // A call that asks for its own response would wait for itself.
            let own = is_being_polled(self, &name);
            let running = table.running.get(&name).filter(|running| !own && (terms.joins)(&running.provenance));
            let broadcast = running.and_then(Running::broadcast::<V>);
            let reader = broadcast.as_ref().and_then(Broadcast::subscribe);
            let joined = reader.zip(running).map(|(reader, running)| Joined {
                handle: WaiterHandle::new(reader, running.waiters.clone()),
                led: false,
                batch: running.batch,
            });
            known.extend(broadcast);
            if joined.is_none() {
                let id = table.next_id;
                table.next_id += 1;
                guards.push((at, Guard { flights: Arc::clone(self), name, id }));
            }
            joined_all.push(joined);
        }
        let batch = Batch { first, items: guards.len() };
        // Guards have been numbered in this order.
        let led = joined_all.iter_mut().zip(keys).filter(|(joined, _)| joined.is_none()).zip(first..);
        for (((joined, key), id), call) in led.zip(calls(guards)) {
            let name = (key.clone(), terms.priority);
            let broadcast = Broadcast::new(Once { call: Some(call), name: Some((Arc::downgrade(self), name.clone())) });
            let waiters = detached.as_ref().map(|detached| WaiterCount::new(detached, self, &name, id));
            let handle = |reader| WaiterHandle::new(reader, waiters.clone());
            *joined = broadcast.subscribe().map(|reader| Joined { handle: handle(reader), led: true, batch });
            let broadcast = Box::new(Arc::downgrade(&broadcast));
            let running = Running { id, batch, provenance: terms.provenance.clone(), broadcast, waiters };
            table.running.insert(name, running);
        }
        drop(table);
        joined_all.into_iter().map(|joined| joined.expect("a call is started for each key without one")).collect()
    }

    /// Adds a call to the table that no caller can join. `None` if a call runs that the caller might join.
    pub(crate) fn enter(self: &Arc<Self>, key: &Key, terms: &JoinTerms<'_>) -> Option<Guard> {
        let name = (key.clone(), terms.priority);
        let mut table = self.lock();
        if table.running.get(&name).is_some_and(|running| (terms.joins)(&running.provenance)) {
            return None;
        }
        let id = table.next_id;
        table.next_id += 1;
        let provenance = terms.provenance.clone();
        let running = Running { id, batch: Batch::default(), provenance, broadcast: Box::new(()), waiters: None };
        // Dropped outside the lock.
        let _replaced = table.running.insert(name.clone(), running);
        drop(table);
        Some(Guard { flights: Arc::clone(self), name, id })
    }

    /// True if a call runs under `key`, of whatever priority.
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

impl Running {
    fn broadcast<V: Completion>(&self) -> Option<Arc<Broadcast<Once<V>>>> {
        self.broadcast.downcast_ref::<Weak<Broadcast<Once<V>>>>()?.upgrade()
    }
}

impl<V: Completion> WaiterHandle<V> {
    fn new(reader: Reader<Once<V>>, waiters: Option<Arc<WaiterCount>>) -> Self {
        if let Some(waiters) = &waiters {
            waiters.count.fetch_add(1, Ordering::AcqRel);
        }
        Self { reader: Some(reader), waiters }
    }

    /// A handle on a call that is in no table.
    pub(crate) fn alone(call: Start<V>) -> Option<Self> {
        Broadcast::new(Once::new(call)).subscribe().map(|reader| Self::new(reader, None))
    }

    /// Awaits the result; `None` if the call panicked.
    pub(crate) async fn result(&mut self) -> Option<V> {
        result_of(self.reader.as_mut()?).await
    }
}

impl<V: Completion> Drop for WaiterHandle<V> {
    fn drop(&mut self) {
        let (Some(reader), Some(waiters)) = (self.reader.take(), &self.waiters) else { return };
        let is_last = waiters.count.fetch_sub(1, Ordering::AcqRel) == 1;
        if !is_last || !waiters.is_running() {
            return;
        }
        // The reader goes on in the background, and holds the call as a waiter would, so that later callers join it.
        let Some(slot) = waiters.detached.slot() else { return };
        waiters.detached.background.complete(slot, async move {
            // This one may have read the result.
            let Some(mut again) = reader.resubscribe() else { return };
            if let Some(completion) = result_of(&mut again).await.and_then(V::completion) {
                completion.await;
            }
        });
    }
}

impl WaiterCount {
    fn new(detached: &Arc<DetachedCall>, flights: &Arc<SingleFlights>, name: &Name, id: u64) -> Arc<Self> {
        let (detached, flights, name) = (Arc::clone(detached), Arc::downgrade(flights), name.clone());
        Arc::new(Self { count: AtomicUsize::new(0), detached, flights, name, id })
    }

    fn is_running(&self) -> bool {
        let Some(flights) = self.flights.upgrade() else { return false };
        let table = flights.lock();
        table.running.get(&self.name).is_some_and(|running| running.id == self.id)
    }
}

impl DetachedCall {
    /// The place of the call, if it has one or there is room.
    fn slot(&self) -> Option<Arc<Slot>> {
        let mut known = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = known.upgrade() {
            return Some(slot);
        }
        let Some(slot) = self.background.detached_slot() else {
            self.counts.skipped.one();
            return None;
        };
        self.counts.detached.one();
        let slot = Arc::new(slot);
        *known = Arc::downgrade(&slot);
        Some(slot)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut table = self.flights.lock();
        // A call that all waiters left may have a successor by now.
        if table.running.get(&self.name).is_some_and(|running| running.id == self.id) {
            table.running.remove(&self.name);
        }
    }
}

/// Stream of one value, the result of a call.
pub(crate) struct Once<V> {
    call: Option<Start<V>>,
    name: Option<(Weak<SingleFlights>, Name)>,
}

impl<V> Once<V> {
    /// A call that is in no table.
    pub(crate) fn new(call: Start<V>) -> Self {
        Self { call: Some(call), name: None }
    }
}

impl<V> Stream for Once<V> {
    type Item = V;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<V>> {
        let Self { call: slot, name } = &mut *self;
        let Some(call) = slot else { return Poll::Ready(None) };
        let value = {
            let _polled = name.as_ref().map(|(flights, name)| Polled::new(flights, name));
            ready!(call.as_mut().poll(cx))
        };
        *slot = None;
        Poll::Ready(Some(value))
    }
}

thread_local! {
    /// The calls that this thread is polling, the innermost last.
    static POLLED: RefCell<Vec<(Weak<SingleFlights>, Name)>> = const { RefCell::new(Vec::new()) };
}

/// Says that this thread is polling a call.
struct Polled;

impl Polled {
    fn new(flights: &Weak<SingleFlights>, name: &Name) -> Self {
        POLLED.with_borrow_mut(|polled| polled.push((flights.clone(), name.clone())));
        Self
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        // Dropped outside the cell: it may be the last of its kind.
        let _last = POLLED.with_borrow_mut(Vec::pop);
    }
}

fn is_being_polled(flights: &Arc<SingleFlights>, name: &Name) -> bool {
    let is = |(table, known): &(Weak<SingleFlights>, Name)| table.as_ptr() == Arc::as_ptr(flights) && known == name;
    POLLED.with_borrow(|polled| polled.iter().any(is))
}

/// Time until a waiter polls the call itself for the first time. It doubles each time after.
const FIRST_POLL: Duration = Duration::from_secs(1);
/// Longest time until a waiter polls the call itself.
const MAX_POLL: Duration = Duration::from_secs(60);

/// Awaits the result of a call; `None` if it panicked.
///
/// The waiter that is woken to drive the call may be held by its caller and not polled. Therefore each waiter polls the call
/// itself now and then, if there is a tokio runtime whose timers it can use.
pub(crate) async fn result_of<V: Clone + Send + 'static>(handle: &mut Reader<Once<V>>) -> Option<V> {
    let mut interval = FIRST_POLL;
    let mut alarm: Option<Pin<Box<Sleep>>> = None;
    std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(value) = Pin::new(&mut *handle).poll_next(cx) {
                return Poll::Ready(value);
            }
            if alarm.is_none() && Handle::try_current().is_err() {
                return Poll::Pending;
            }
            ready!(alarm.get_or_insert_with(|| Box::pin(sleep(interval))).as_mut().poll(cx));
            interval = (interval * 2).min(MAX_POLL);
            alarm = None;
        }
    })
    .await
}
