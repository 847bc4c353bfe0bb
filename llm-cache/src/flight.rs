//! One running call for all who ask the same.

use std::{
    any::Any,
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use llm_core::{Broadcast, Reader};

use crate::Key;

/// The calls that are running now, by their keys.
#[derive(Default)]
pub(crate) struct Flights(Mutex<Table>);

#[derive(Default)]
struct Table {
    running: HashMap<Key, Running>,
    next_id: u64,
}

struct Running {
    id: u64,
    /// A `Weak<Broadcast<Once<V>>>`, of the type that this key's calls have.
    flight: Box<dyn Any + Send>,
}

/// Keeps a call in the table. When it goes, the next who asks makes a call of his own.
pub(crate) struct Landing {
    flights: Arc<Flights>,
    key: Key,
    id: u64,
}

/// A participant's hold on a flight: the call runs while anybody has one.
pub(crate) type Seat<V> = Reader<Once<V>>;

/// How somebody who asks gets his answer.
pub(crate) enum Boarding<V, F> {
    /// His is the call.
    Led(Seat<V>),
    /// It runs already.
    Joined(Seat<V>),
    /// It was answered between the first look and this one.
    Found(F),
}

impl Flights {
    /// Joins the call that runs under `key`, or starts one.
    ///
    /// Whoever finds no flight looks for the answer once more: a flight stores its answer before it leaves the table, so
    /// one of the two is there.
    pub(crate) fn board<V, F>(
        self: &Arc<Self>,
        key: &Key,
        look_again: impl FnOnce() -> Option<F>,
        call: impl FnOnce(Landing) -> Pin<Box<dyn Future<Output = V> + Send>>,
    ) -> Boarding<V, F>
    where
        V: Clone + Send + 'static,
    {
        // The last hand on a flight must not let go while the table is locked, so this outlives the lock.
        let mut known = None;
        let table = self.lock();
        if let Some(flight) = table.running.get(key).and_then(Running::flight::<V>) {
            let flight = &*known.insert(flight);
            if let Some(seat) = flight.read() {
                return Boarding::Joined(seat);
            }
        }
        match look_again() {
            Some(found) => Boarding::Found(found),
            None => Boarding::Led(self.lead(table, key, call)),
        }
    }

    fn lead<V>(
        self: &Arc<Self>,
        mut table: MutexGuard<'_, Table>,
        key: &Key,
        call: impl FnOnce(Landing) -> Pin<Box<dyn Future<Output = V> + Send>>,
    ) -> Seat<V>
    where
        V: Clone + Send + 'static,
    {
        let id = table.next_id;
        table.next_id += 1;
        let landing = Landing { flights: Arc::clone(self), key: key.clone(), id };
        let flight = Broadcast::new(Once(Some(call(landing))));
        let seat = flight.read().expect("a new flight has a seat");
        table.running.insert(key.clone(), Running { id, flight: Box::new(Arc::downgrade(&flight)) });
        seat
    }

    /// How many calls are running.
    pub(crate) fn count(&self) -> usize {
        self.lock().running.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn flight<V: Clone + Send + 'static>(&self) -> Option<Arc<Broadcast<Once<V>>>> {
        self.flight.downcast_ref::<Weak<Broadcast<Once<V>>>>()?.upgrade()
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut table = self.flights.lock();
        // A flight that was given up may have a successor by now.
        if table.running.get(&self.key).is_some_and(|running| running.id == self.id) {
            table.running.remove(&self.key);
        }
    }
}

/// A stream of the one value that a future gives.
pub(crate) struct Once<V>(Option<Pin<Box<dyn Future<Output = V> + Send>>>);

impl<V> Stream for Once<V> {
    type Item = V;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<V>> {
        let Some(call) = &mut self.0 else { return Poll::Ready(None) };
        let value = ready!(call.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(Some(value))
    }
}

/// The value that a flight brings; `None` if it panicked.
pub(crate) async fn arrival<V: Clone + Send + 'static>(seat: &mut Seat<V>) -> Option<V> {
    std::future::poll_fn(|cx| Pin::new(&mut *seat).poll_next(cx)).await
}
