use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Wake, Waker},
};

use futures_core::Stream;

/// One stream for many readers, each of whom gets every item from the first on.
///
/// No task runs it: the readers do, one at a time, and the cancellation of any of them leaves the others unharmed. When
/// the source wakes, two readers are woken (one to go on, one in case that one is held but not polled); when an item
/// arrives, all who wait are. When the last reader leaves, the source is dropped.
///
/// A stream of one item makes a single flight: a call that many wait for.
///
/// A source that panics ends the stream for all readers, without an item. That includes a source whose timers belong to a
/// tokio runtime that has ended while a reader in another runtime polls it.
///
/// All items are held for those who join later, until [`close`](Self::close) says that nobody will.
///
/// NOTE: somebody has to poll. If both woken readers are kept but not polled, the others wait until the source wakes
/// again, or another reader polls, joins or leaves; spawn calls, or poll them together, as with any future.
pub struct Broadcast<S: Stream> {
    state: Mutex<State<S>>,
    waker: Waker,
}

/// Reads a [`Broadcast`] from its first item.
pub struct Reader<S: Stream> {
    of: Arc<Broadcast<S>>,
    id: u64,
    next: usize,
}

struct State<S: Stream> {
    source: Source<S>,
    /// The source has something to say, or was never asked.
    awake: bool,
    items: VecDeque<S::Item>,
    /// How many items came before `items` and are gone.
    gone: usize,
    /// The most items to hold, once nobody can join any more.
    most: Option<usize>,
    /// Those to be woken by the next item. Whoever is woken is taken out, and comes back if there is nothing for him: so
    /// one who is held and not polled is not asked twice.
    waiting: BTreeMap<u64, Waker>,
    /// Those to be woken by the end alone, or to go on where nobody else waits.
    patient: BTreeMap<u64, Waker>,
    readers: usize,
    next_id: u64,
}

enum Source<S> {
    Idle(Pin<Box<S>>),
    /// A reader is polling it, outside the lock.
    Taken,
    Ended,
}

struct Rouse<S: Stream>(Weak<Broadcast<S>>);

impl<S> Broadcast<S>
where
    S: Stream + Send + 'static,
    S::Item: Clone + Send + 'static,
{
    /// Shares a stream. Nothing happens until somebody reads.
    pub fn new(source: S) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            state: Mutex::new(State {
                source: Source::Idle(Box::pin(source)),
                awake: true,
                items: VecDeque::new(),
                gone: 0,
                most: None,
                waiting: BTreeMap::new(),
                patient: BTreeMap::new(),
                readers: 0,
                next_id: 0,
            }),
            waker: Arc::new(Rouse(this.clone())).into(),
        })
    }

    /// A reader from the first item; `None` if all readers have left, so that the stream is gone, or it is closed.
    pub fn read(self: &Arc<Self>) -> Option<Reader<S>> {
        let mut state = self.lock();
        if state.readers == 0 && state.next_id > 0 || state.most.is_some() {
            return None;
        }
        let id = state.next_id;
        state.next_id += 1;
        state.readers += 1;
        Some(Reader { of: Arc::clone(self), id, next: 0 })
    }

    /// Lets nobody join any more. From here on as many items are held as there are now: a reader who falls further
    /// behind than that [has missed](Reader::has_missed) some, and gets no more.
    pub fn close(&self) {
        let mut state = self.lock();
        state.most = state.most.or(Some(state.items.len().max(1)));
    }

    /// How many items are held.
    pub fn held(&self) -> usize {
        self.lock().items.len()
    }

    /// The item at a place, or, without one, the last item once the stream has ended.
    fn poll_item(&self, id: u64, at: Option<usize>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        loop {
            let (source, stale) = {
                let mut state = self.lock();
                let gone = state.gone;
                if at.is_some_and(|at| at < gone) {
                    return Poll::Ready(None);
                }
                if let Some(item) = at.and_then(|at| state.items.get(at - gone)) {
                    return Poll::Ready(Some(item.clone()));
                }
                if let Source::Ended = state.source {
                    let last = if at.is_none() { state.items.back().cloned() } else { None };
                    return Poll::Ready(last);
                }
                let stale = state.wait(id, at.is_none(), cx.waker());
                (state.take(), stale)
            };
            drop(stale);
            let Some(source) = source else { return Poll::Pending };
            let mut lease = Lease { of: self, source: Some(source) };
            match lease.poll(&mut Context::from_waker(&self.waker)) {
                Poll::Ready(item) => lease.deliver(item, id),
                Poll::Pending => {
                    lease.give_back();
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<S: Stream> Broadcast<S> {
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        // The source and the wakers run, and are dropped, outside the lock: they may come back here. Only items are
        // cloned inside; a panic there leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, id: u64) {
        // Declared before the lock, so dropped after it.
        let _own;
        let mut state = self.lock();
        _own = (state.waiting.remove(&id), state.patient.remove(&id));
        state.readers -= 1;
        if state.readers == 0 {
            let source = std::mem::replace(&mut state.source, Source::Ended);
            let items = std::mem::take(&mut state.items);
            drop(state);
            // What these drop may come back here.
            drop((source, items));
        } else if state.awake {
            // The one who left may have been the one woken to go on.
            let next = state.drivers();
            drop(state);
            wake(next);
        }
    }
}

impl<S: Stream> State<S> {
    /// Has a reader woken from now on. Gives back what it was known by before, to be dropped outside the lock.
    fn wait(&mut self, id: u64, patient: bool, waker: &Waker) -> Option<Waker> {
        let list = if patient { &mut self.patient } else { &mut self.waiting };
        if list.get(&id).is_some_and(|known| known.will_wake(waker)) {
            return None;
        }
        list.insert(id, waker.clone())
    }

    fn take(&mut self) -> Option<Pin<Box<S>>> {
        if !self.awake || !matches!(self.source, Source::Idle(_)) {
            return None;
        }
        self.awake = false;
        match std::mem::replace(&mut self.source, Source::Taken) {
            Source::Idle(source) => Some(source),
            Source::Taken | Source::Ended => None,
        }
    }

    /// The reader who goes on, and one of another task in case that one is held but not polled.
    fn drivers(&mut self) -> Vec<Waker> {
        let mut drivers = Vec::with_capacity(2);
        for list in [&mut self.waiting, &mut self.patient] {
            while drivers.len() < 2 {
                let other = |waker: &Waker| drivers.iter().all(|driver: &Waker| !driver.will_wake(waker));
                let Some(id) = list.iter().find(|(_, waker)| other(waker)).map(|(id, _)| *id) else { break };
                drivers.extend(list.remove(&id));
            }
        }
        drivers
    }
}

/// Wakes all of them, also if one of them panics.
fn wake(wakers: impl IntoIterator<Item = Waker>) {
    struct Rest<I: Iterator<Item = Waker>>(I);
    impl<I: Iterator<Item = Waker>> Drop for Rest<I> {
        fn drop(&mut self) {
            self.0.by_ref().for_each(Waker::wake);
        }
    }
    let mut rest = Rest(wakers.into_iter());
    rest.0.by_ref().for_each(Waker::wake);
}

/// The source while a reader polls it outside the lock.
struct Lease<'a, S: Stream> {
    of: &'a Broadcast<S>,
    source: Option<Pin<Box<S>>>,
}

impl<S: Stream> Lease<'_, S> {
    /// Polls the source. A source that panics has ended: the reader that polls it is any of them, so the panic is not that
    /// reader's.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let source = self.source.as_mut().expect("a lease holds its source until it is given back");
        catch_unwind(AssertUnwindSafe(|| source.as_mut().poll_next(cx))).unwrap_or(Poll::Ready(None))
    }

    /// Puts the source back. One that woke meanwhile is not polled again at once: like any future that wakes itself, it
    /// lets others run first.
    fn give_back(mut self) {
        let mut state = self.of.lock();
        if let Some(source) = self.source.take() {
            state.source = Source::Idle(source);
        }
        let next = if state.awake { state.drivers() } else { Vec::new() };
        drop(state);
        wake(next);
    }

    /// Adds an item, or the end, and wakes all who wait but `by`, who polls.
    fn deliver(mut self, item: Option<S::Item>, by: u64) {
        let source = self.source.take();
        let mut state = self.of.lock();
        let mut oldest = None;
        let ended = match item {
            Some(item) => {
                state.items.push_back(item);
                if state.most.is_some_and(|most| state.items.len() > most) {
                    oldest = state.items.pop_front();
                    state.gone += 1;
                }
                state.awake = true;
                state.source = source.map_or(Source::Ended, Source::Idle);
                None
            }
            None => {
                state.source = Source::Ended;
                source
            }
        };
        let mut waiting = std::mem::take(&mut state.waiting);
        let patient = if ended.is_some() { std::mem::take(&mut state.patient) } else { BTreeMap::new() };
        drop(state);
        waiting.remove(&by);
        drop((ended, oldest));
        wake(waiting.into_values().chain(patient.into_values()));
    }
}

impl<S> Wake for Rouse<S>
where
    S: Stream + Send + 'static,
    S::Item: Send,
{
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(broadcast) = self.0.upgrade() else { return };
        let next = {
            let mut state = broadcast.lock();
            state.awake = true;
            match state.source {
                Source::Idle(_) => state.drivers(),
                // Whoever polls it now looks at `awake` when it gives it back.
                Source::Taken | Source::Ended => return,
            }
        };
        wake(next);
    }
}

impl<S> Reader<S>
where
    S: Stream + Send + 'static,
    S::Item: Clone + Send + 'static,
{
    /// Waits for the end of the stream and gives its last item. It is not woken by the items before, unless nobody else
    /// is there to go on.
    pub async fn last(self) -> Option<S::Item> {
        std::future::poll_fn(|cx| self.of.poll_item(self.id, None, cx)).await
    }

    /// Another reader of the same stream, from the first item; `None` if it is closed.
    pub fn resubscribe(&self) -> Option<Self> {
        self.of.read()
    }

    /// Whether items that this reader has not read are gone, so that he gets no more.
    pub fn has_missed(&self) -> bool {
        self.next < self.of.lock().gone
    }
}

impl<S> Stream for Reader<S>
where
    S: Stream + Send + 'static,
    S::Item: Clone + Send + 'static,
{
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let item = std::task::ready!(self.of.poll_item(self.id, Some(self.next), cx));
        self.next += usize::from(item.is_some());
        Poll::Ready(item)
    }
}

// Nothing in it is pinned: the source is boxed, behind the lock.
impl<S: Stream> Unpin for Reader<S> {}

impl<S: Stream> Drop for Reader<S> {
    fn drop(&mut self) {
        self.of.leave(self.id);
    }
}

impl<S: Stream> fmt::Debug for Broadcast<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Broadcast").field("items", &state.items.len()).field("readers", &state.readers).finish()
    }
}

impl<S: Stream> fmt::Debug for Reader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("next", &self.next).finish()
    }
}
