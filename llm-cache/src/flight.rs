//! One running call for all who ask the same.

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
    background::{Place, Tasks},
    counts::Counts,
    store::Source,
};

/// The calls that are running now, by their keys.
#[derive(Default)]
pub(crate) struct Flights {
    table: Mutex<Table>,
    /// Where calls go on when their last caller has left, if they do.
    finish: Option<Arc<Tasks>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Table {
    running: HashMap<Name, Running, RandomState>,
    next_id: u64,
}

/// Calls of different priority are apart: a background one may have to wait.
type Name = (Key, Priority);

struct Running {
    id: u64,
    batch: Batch,
    source: Source,
    /// A `Weak<Broadcast<Once<V>>>`, of the type that this key's calls have.
    flight: Box<dyn Any + Send>,
    crew: Option<Arc<Crew>>,
}

/// The callers of a flight that is to be finished when they have left.
struct Crew {
    callers: AtomicUsize,
    charter: Arc<Charter>,
    flights: Weak<Flights>,
    name: Name,
    id: u64,
}

/// A place in the background, for all flights that one call serves.
struct Charter {
    background: Arc<Tasks>,
    place: Mutex<Weak<Place>>,
    counts: Arc<Counts>,
}

/// Keeps a call in the table of running calls. When it goes, the next who asks makes a call of his own.
pub(crate) struct Guard {
    flights: Arc<Flights>,
    name: Name,
    id: u64,
}

/// A caller's hold on a flight: the call runs while anybody has one. When the last is dropped before the call has ended,
/// the call is dropped, or goes on in the background.
pub(crate) struct Seat<V: Rest> {
    reader: Option<Reader<Once<V>>>,
    crew: Option<Arc<Crew>>,
}

/// What a call brings. It may be there before it is whole.
pub(crate) trait Rest: Clone + Send + 'static {
    /// Waits until it is whole, if it is not.
    fn rest(self) -> Option<Start<()>>;
}

/// A call that has not begun.
pub(crate) type Start<V> = Pin<Box<dyn Future<Output = V> + Send>>;

/// A caller that joins a running call or leads one.
pub(crate) struct Pass<'a> {
    pub(crate) priority: Priority,
    pub(crate) source: &'a Source,
    /// Says whether the caller may join a call with this source: see [`Inner::joins`](crate::inner::Inner::joins).
    pub(crate) joins: &'a (dyn Fn(&Source) -> bool + Sync),
}

/// How somebody who asks gets his answer.
pub(crate) struct Boarding<V: Rest> {
    pub(crate) seat: Seat<V>,
    /// Whether his is the call.
    pub(crate) led: bool,
    pub(crate) batch: Batch,
}

/// The flights that were started together, for one call further up; none where nobody can join it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Batch {
    /// The number of the first.
    first: u64,
    /// How many they are.
    pub(crate) flights: usize,
}

impl Flights {
    /// No flights yet. Calls that all have left go on in `finish`, if there is one.
    pub(crate) fn new(finish: Option<Arc<Tasks>>, counts: Arc<Counts>) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), finish, counts })
    }

    /// For each of several different keys: joins the call that runs, or starts one. `calls` makes those to start all at
    /// once, in the order given, so that one call further up can serve several. It runs while the table is locked.
    ///
    /// A call that is started looks for a stored answer first: one that ran before stores its answer before it leaves the
    /// table, so whoever finds no flight finds that.
    pub(crate) fn board_all<V: Rest>(
        self: &Arc<Self>,
        keys: &[Key],
        pass: &Pass<'_>,
        calls: impl FnOnce(Vec<(usize, Guard)>) -> Vec<Start<V>>,
    ) -> Vec<Boarding<V>> {
        // The last hand on a flight must not let go while the table is locked, so these outlive the lock.
        let mut known = Vec::new();
        let charter = self.finish.as_ref().map(|background| {
            Arc::new(Charter {
                background: Arc::clone(background),
                place: Mutex::default(),
                counts: Arc::clone(&self.counts),
            })
        });
        let mut table = self.lock();
        let first = table.next_id;
        let mut boardings: Vec<Option<Boarding<V>>> = Vec::with_capacity(keys.len());
        let mut guards = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let name = (key.clone(), pass.priority);
            // Whoever asks for an answer while he is making it would wait for himself.
            let own = is_being_polled(self, &name);
            let running = table.running.get(&name).filter(|running| !own && (pass.joins)(&running.source));
            let flight = running.and_then(Running::flight::<V>);
            let reader = flight.as_ref().and_then(Broadcast::read);
            let joined = reader.zip(running).map(|(reader, running)| Boarding {
                seat: Seat::new(reader, running.crew.clone()),
                led: false,
                batch: running.batch,
            });
            known.extend(flight);
            if joined.is_none() {
                let id = table.next_id;
                table.next_id += 1;
                guards.push((at, Guard { flights: Arc::clone(self), name, id }));
            }
            boardings.push(joined);
        }
        let batch = Batch { first, flights: guards.len() };
        let names: Vec<_> = guards.iter().map(|(at, guard)| (*at, guard.name.clone(), guard.id)).collect();
        for ((at, name, id), call) in names.into_iter().zip(calls(guards)) {
            let flight = Broadcast::new(Once { call: Some(call), name: Some((Arc::downgrade(self), name.clone())) });
            let crew = charter.as_ref().map(|charter| Crew::new(charter, self, &name, id));
            let seat = |reader| Seat::new(reader, crew.clone());
            boardings[at] = flight.read().map(|reader| Boarding { seat: seat(reader), led: true, batch });
            let flight = Box::new(Arc::downgrade(&flight));
            let running = Running { id, batch, source: pass.source.clone(), flight, crew };
            table.running.insert(name, running);
        }
        drop(table);
        boardings.into_iter().map(|boarding| boarding.expect("a call is started for each key without one")).collect()
    }

    /// Adds a call to the table that no caller can join; `None` if there is one already that the caller might join.
    pub(crate) fn enter(self: &Arc<Self>, key: &Key, pass: &Pass<'_>) -> Option<Guard> {
        let name = (key.clone(), pass.priority);
        let mut table = self.lock();
        if table.running.get(&name).is_some_and(|running| (pass.joins)(&running.source)) {
            return None;
        }
        let id = table.next_id;
        table.next_id += 1;
        let source = pass.source.clone();
        let running = Running { id, batch: Batch::default(), source, flight: Box::new(()), crew: None };
        // Dropped outside the lock.
        let _replaced = table.running.insert(name.clone(), running);
        drop(table);
        Some(Guard { flights: Arc::clone(self), name, id })
    }

    /// Whether a call runs under `key`, of whatever priority.
    pub(crate) fn is_running(&self, key: &Key) -> bool {
        let table = self.lock();
        [Priority::Interactive, Priority::Background]
            .iter()
            .any(|class| table.running.contains_key(&(key.clone(), *class)))
    }

    /// How many calls are running.
    pub(crate) fn count(&self) -> usize {
        self.lock().running.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn flight<V: Rest>(&self) -> Option<Arc<Broadcast<Once<V>>>> {
        self.flight.downcast_ref::<Weak<Broadcast<Once<V>>>>()?.upgrade()
    }
}

impl<V: Rest> Seat<V> {
    fn new(reader: Reader<Once<V>>, crew: Option<Arc<Crew>>) -> Self {
        if let Some(crew) = &crew {
            crew.callers.fetch_add(1, Ordering::AcqRel);
        }
        Self { reader: Some(reader), crew }
    }

    /// A seat on a call that is in no table.
    pub(crate) fn alone(call: Start<V>) -> Option<Self> {
        Broadcast::new(Once::new(call)).read().map(|reader| Self::new(reader, None))
    }

    /// The value that the flight brings; `None` if it panicked.
    pub(crate) async fn arrival(&mut self) -> Option<V> {
        arrival(self.reader.as_mut()?).await
    }
}

impl<V: Rest> Drop for Seat<V> {
    fn drop(&mut self) {
        let (Some(reader), Some(crew)) = (self.reader.take(), &self.crew) else { return };
        let is_last = crew.callers.fetch_sub(1, Ordering::AcqRel) == 1;
        if !is_last || !crew.is_running() {
            return;
        }
        // The reader goes on in the background, and holds the flight as a caller would: whoever asks now joins it.
        let Some(place) = crew.charter.place() else { return };
        crew.charter.background.keep(place, async move {
            // This one may have read the arrival.
            let Some(mut again) = reader.resubscribe() else { return };
            if let Some(rest) = arrival(&mut again).await.and_then(V::rest) {
                rest.await;
            }
        });
    }
}

impl Crew {
    fn new(charter: &Arc<Charter>, flights: &Arc<Flights>, name: &Name, id: u64) -> Arc<Self> {
        let (charter, flights, name) = (Arc::clone(charter), Arc::downgrade(flights), name.clone());
        Arc::new(Self { callers: AtomicUsize::new(0), charter, flights, name, id })
    }

    fn is_running(&self) -> bool {
        let Some(flights) = self.flights.upgrade() else { return false };
        let table = flights.lock();
        table.running.get(&self.name).is_some_and(|running| running.id == self.id)
    }
}

impl Charter {
    /// The place of the call, if it has one or there is one.
    fn place(&self) -> Option<Arc<Place>> {
        let mut known = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = known.upgrade() {
            return Some(place);
        }
        let Some(place) = self.background.adopt() else {
            self.counts.skipped.one();
            return None;
        };
        self.counts.finished.one();
        let place = Arc::new(place);
        *known = Arc::downgrade(&place);
        Some(place)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut table = self.flights.lock();
        // A flight that was given up may have a successor by now.
        if table.running.get(&self.name).is_some_and(|running| running.id == self.id) {
            table.running.remove(&self.name);
        }
    }
}

/// A stream of the one value that a call brings.
pub(crate) struct Once<V> {
    call: Option<Start<V>>,
    name: Option<(Weak<Flights>, Name)>,
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
    static POLLED: RefCell<Vec<(Weak<Flights>, Name)>> = const { RefCell::new(Vec::new()) };
}

/// Says that this thread is polling a call.
struct Polled;

impl Polled {
    fn new(flights: &Weak<Flights>, name: &Name) -> Self {
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

fn is_being_polled(flights: &Arc<Flights>, name: &Name) -> bool {
    let is = |(table, known): &(Weak<Flights>, Name)| table.as_ptr() == Arc::as_ptr(flights) && known == name;
    POLLED.with_borrow(|polled| polled.iter().any(is))
}

/// How long a waiter sleeps before he looks himself for the first time; twice as long each time after.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest that a waiter sleeps.
const MOST_PATIENCE: Duration = Duration::from_secs(60);

/// The value that a flight brings; `None` if it panicked.
///
/// Whoever is woken to go on may be held by his caller and not polled. So a waiter looks himself now and then; with a
/// tokio runtime around him, whose timers that needs.
pub(crate) async fn arrival<V: Clone + Send + 'static>(seat: &mut Reader<Once<V>>) -> Option<V> {
    let mut patience = PATIENCE;
    let mut alarm: Option<Pin<Box<Sleep>>> = None;
    std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(value) = Pin::new(&mut *seat).poll_next(cx) {
                return Poll::Ready(value);
            }
            if alarm.is_none() && Handle::try_current().is_err() {
                return Poll::Pending;
            }
            ready!(alarm.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx));
            patience = (patience * 2).min(MOST_PATIENCE);
            alarm = None;
        }
    })
    .await
}
