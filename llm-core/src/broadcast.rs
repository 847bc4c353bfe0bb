use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, ThreadId},
};

use futures_core::Stream;

/// Stream that many readers share. Each reader gets every item, beginning with the first.
///
/// No task polls the source stream. The readers poll it, one at a time, and any reader may be dropped without an effect
/// on the others. When the source is ready to be polled, two readers are woken. One of them polls the source. The other
/// polls it if the task of the first keeps its reader without polling it. When an item arrives, all waiting readers are
/// woken. The source is dropped with its last reader.
///
/// A stream of one item is a single flight: one call with many waiters.
///
/// # Example
///
/// ```
/// use futures_util::{StreamExt, stream};
/// use llm_core::layer::Broadcast;
///
/// # tokio_test::block_on(async {
/// let shared = Broadcast::new(stream::iter([1, 2, 3]));
/// let mut early = shared.subscribe().expect("it is open");
/// assert_eq!(early.next().await, Some(1));
/// let late = shared.subscribe().expect("a reader is left");
/// assert_eq!(late.collect::<Vec<_>>().await, [1, 2, 3]);
/// # });
/// ```
///
/// # Behaviour
///
/// A source that panics ends the stream for all readers, without an item. That includes a source whose timers belong to
/// a tokio runtime that has ended while a reader in another runtime polls it.
///
/// All items are kept for later readers, until [`close`](Self::close) refuses further readers.
///
/// NOTE: a reader has to poll. If both woken readers are kept but not polled, the others wait until the source wakes
/// again, or another reader polls, joins or leaves. Spawn calls, or poll them together, as with any future.
pub struct Broadcast<S: Stream> {
    state: Mutex<State<S>>,
}

/// Reader of a [`Broadcast`], a stream of its own that begins with the first item.
pub struct Reader<S: Stream> {
    of: Arc<Broadcast<S>>,
    id: u64,
    next: usize,
    has_left: bool,
}

struct State<S: Stream> {
    source: Source<S>,
    /// True if the source has called its waker since it was last polled, or if it has never been polled.
    awake: bool,
    items: VecDeque<S::Item>,
    /// Number of items that were removed from the front of `items`, which is the index of the first kept item.
    gone: usize,
    /// Largest number of items to keep once the broadcast is closed; `None` while it is open.
    most: Option<usize>,
    /// Wakers of the readers that wait for the next item, by the reader's id. A reader is removed when it is woken, and
    /// adds itself again if it finds no item, so that a reader that its task does not poll is woken once only.
    waiting: BTreeMap<u64, Waker>,
    /// Wakers of the readers that wait only for the end. They are woken by the end, or to poll the source if no other
    /// reader waits.
    end_only: BTreeMap<u64, Waker>,
    readers: usize,
    next_id: u64,
}

enum Source<S> {
    Idle(S),
    /// A reader on this thread has taken the source out of the state to poll it outside of the lock.
    Taken(ThreadId),
    Ended,
}

impl<S> Broadcast<S>
where
    S: Stream + Unpin + Send + 'static,
    S::Item: Clone + Send + 'static,
{
    /// Shares a stream, which is first polled when a reader is polled. Box a stream that is not `Unpin` with
    /// [`Box::pin`] first.
    pub fn new(source: S) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                source: Source::Idle(source),
                awake: true,
                items: VecDeque::new(),
                gone: 0,
                most: None,
                waiting: BTreeMap::new(),
                end_only: BTreeMap::new(),
                readers: 0,
                next_id: 0,
            }),
        })
    }

    /// Adds a reader that begins with the first item. Returns `None` if the broadcast is closed, or if it had readers
    /// and all of them were dropped, because the source is dropped with the last reader.
    pub fn subscribe(self: &Arc<Self>) -> Option<Reader<S>> {
        let mut state = self.lock();
        if state.readers == 0 && state.next_id > 0 || state.most.is_some() {
            return None;
        }
        let id = state.next_id;
        state.next_id += 1;
        state.readers += 1;
        Some(Reader { of: Arc::clone(self), id, next: 0, has_left: false })
    }

    /// Refuses further readers. From now on, the buffer does not grow beyond its present number of items, or beyond one
    /// item if it is empty. A reader that falls behind by more items [has missed](Reader::has_missed) some, and its
    /// stream ends.
    pub fn close(&self) {
        let mut state = self.lock();
        state.most = state.most.or(Some(state.items.len().max(1)));
    }

    /// Returns `true` if the caller runs inside a poll of the source. Such a caller must not wait for this stream,
    /// because the source would then wait for itself.
    pub fn is_polled_here(&self) -> bool {
        matches!(self.lock().source, Source::Taken(thread) if thread == thread::current().id())
    }

    /// Returns the number of items in the buffer.
    pub fn buffered(&self) -> usize {
        self.lock().items.len()
    }

    /// Polls for the item at index `at`, or, if `at` is `None`, for the last item of the stream, which is ready when
    /// the stream has ended.
    fn poll_item(self: &Arc<Self>, id: u64, at: Option<usize>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        loop {
            let source = {
                // Declared before the lock guard, so that removed wakers are dropped after the guard.
                let _stale;
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
                let Some(source) = state.take() else {
                    _stale = state.wait(id, at.is_none(), cx.waker());
                    return Poll::Pending;
                };
                source
            };
            let mut lease = Lease { of: self, source: Some(source) };
            let waker = Waker::from(Arc::clone(self));
            match lease.poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(item) => lease.deliver(item, id),
                Poll::Pending => {
                    lease.give_back(id, at.is_none(), cx.waker());
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<S: Stream> Broadcast<S> {
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        // The source and the wakers are called and dropped outside of the lock, because they may lock this state.
        // Inside the lock only items are cloned; a panic there leaves the state consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the reader `id`, unless `unless_last` is true and no other reader exists. Returns `true` if it was
    /// removed.
    fn leave(&self, id: u64, unless_last: bool) -> bool {
        // Declared before the lock guard, so that removed wakers are dropped after the guard.
        let _own;
        let mut state = self.lock();
        if unless_last && state.readers == 1 {
            return false;
        }
        _own = (state.waiting.remove(&id), state.end_only.remove(&id));
        state.readers -= 1;
        if state.readers == 0 {
            let source = std::mem::replace(&mut state.source, Source::Ended);
            let items = std::mem::take(&mut state.items);
            drop(state);
            // Dropping the source or the items may run code that locks this state.
            drop((source, items));
        } else if state.awake {
            // Other readers are woken, because the removed reader may have been woken to poll the source.
            let next = state.drivers();
            drop(state);
            wake(next);
        }
        true
    }
}

impl<S: Stream> State<S> {
    /// Registers a reader's waker. Returns the waker that it replaces, for the caller to drop outside of the lock.
    fn wait(&mut self, id: u64, end_only: bool, waker: &Waker) -> Option<Waker> {
        let list = if end_only { &mut self.end_only } else { &mut self.waiting };
        if list.get(&id).is_some_and(|known| known.will_wake(waker)) {
            return None;
        }
        list.insert(id, waker.clone())
    }

    fn take(&mut self) -> Option<S> {
        if !self.awake || !matches!(self.source, Source::Idle(_)) {
            return None;
        }
        self.awake = false;
        match std::mem::replace(&mut self.source, Source::Taken(thread::current().id())) {
            Source::Idle(source) => Some(source),
            Source::Taken(_) | Source::Ended => None,
        }
    }

    /// Removes and returns the wakers of up to two readers in different tasks. The first task is to poll the source,
    /// and the second task polls it if the first does not.
    fn drivers(&mut self) -> Vec<Waker> {
        let mut drivers = Vec::with_capacity(2);
        for list in [&mut self.waiting, &mut self.end_only] {
            while drivers.len() < 2 {
                let other = |waker: &Waker| drivers.iter().all(|driver: &Waker| !driver.will_wake(waker));
                let Some(id) = list.iter().find(|(_, waker)| other(waker)).map(|(id, _)| *id) else { break };
                drivers.extend(list.remove(&id));
            }
        }
        drivers
    }
}

/// Wakes all wakers, even if one of them panics.
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

/// The source while a reader polls it outside of the lock.
struct Lease<'a, S: Stream> {
    of: &'a Broadcast<S>,
    source: Option<S>,
}

impl<S: Stream + Unpin> Lease<'_, S> {
    /// Polls the source. A panic of the source counts as its end, because it would otherwise unwind into the reader
    /// that polls the source.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let source = self.source.as_mut().expect("a lease holds its source until it is given back");
        catch_unwind(AssertUnwindSafe(|| Pin::new(source).poll_next(cx))).unwrap_or(Poll::Ready(None))
    }

    /// Puts the source back, and registers the reader that polled it. If the source has called its waker meanwhile,
    /// other readers are woken to poll it. This reader does not poll again at once, so that other tasks can run first.
    fn give_back(mut self, id: u64, end_only: bool, waker: &Waker) {
        // Declared before the lock guard, so that removed wakers are dropped after the guard.
        let _stale;
        let mut state = self.of.lock();
        if let Some(source) = self.source.take() {
            state.source = Source::Idle(source);
        }
        _stale = state.wait(id, end_only, waker);
        let next = if state.awake { state.drivers() } else { Vec::new() };
        drop(state);
        wake(next);
    }

    /// Adds an item, or the end if `item` is `None`, and wakes all waiting readers but `by`, the reader that is
    /// polling.
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
        let end_only = if ended.is_some() { std::mem::take(&mut state.end_only) } else { BTreeMap::new() };
        drop(state);
        waiting.remove(&by);
        drop((ended, oldest));
        wake(waiting.into_values().chain(end_only.into_values()));
    }
}

/// Waker of the source. It keeps the state alive, but not the source, which is dropped with the last reader.
impl<S> Wake for Broadcast<S>
where
    S: Stream + Send + 'static,
    S::Item: Send,
{
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let next = {
            let mut state = self.lock();
            state.awake = true;
            match state.source {
                Source::Idle(_) => state.drivers(),
                // A reader is polling the source. It checks `awake` when it puts the source back.
                Source::Taken(_) | Source::Ended => return,
            }
        };
        wake(next);
    }
}

impl<S> Reader<S>
where
    S: Stream + Unpin + Send + 'static,
    S::Item: Clone + Send + 'static,
{
    /// Waits for the end of the stream and returns its last item. Earlier items wake this reader only if no other
    /// reader waits.
    pub async fn last(self) -> Option<S::Item> {
        std::future::poll_fn(|cx| self.of.poll_item(self.id, None, cx)).await
    }

    /// Adds another reader of the same stream, which begins with the first item. Returns `None` if the broadcast is
    /// closed.
    pub fn resubscribe(&self) -> Option<Self> {
        self.of.subscribe()
    }

    /// Drops this reader if others exist. Otherwise returns it, because dropping the last reader would drop the source.
    pub fn leave_unless_last(mut self) -> Option<Self> {
        self.has_left = self.of.leave(self.id, true);
        (!self.has_left).then_some(self)
    }

    /// Returns `true` if items that this reader has not read were removed, so that its stream ends here.
    pub fn has_missed(&self) -> bool {
        self.next < self.of.lock().gone
    }
}

impl<S> Stream for Reader<S>
where
    S: Stream + Unpin + Send + 'static,
    S::Item: Clone + Send + 'static,
{
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let item = std::task::ready!(self.of.poll_item(self.id, Some(self.next), cx));
        self.next += usize::from(item.is_some());
        Poll::Ready(item)
    }
}

// A reader has no pinned field.
impl<S: Stream> Unpin for Reader<S> {}

impl<S: Stream> Drop for Reader<S> {
    fn drop(&mut self) {
        if !self.has_left {
            self.of.leave(self.id, false);
        }
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
