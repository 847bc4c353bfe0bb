use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use super::Call;

/// Deadlines of the callers that wait for one shared call, in its [`extensions`](Call::extensions).
///
/// The layer that shares a call among callers creates it. Each caller [joins](Self::join) when it begins to wait, and
/// leaves when its handle is dropped. The deadline of the shared call is the latest of its callers' deadlines. The call
/// has no deadline if one of the callers has none, or if it continues after all callers have left. Layers below read
/// the deadline by [`CallDeadline`]. Clones share one list of callers.
///
/// ```
/// use std::time::Duration;
/// use llm_core::{Call, layer::{CallDeadline, SharedDeadline}};
///
/// # let now = tokio::time::Instant::now().into_std();
/// let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(9));
/// let deadlines = SharedDeadline::new();
/// let first = deadlines.join(CallDeadline::of(&Call::new("acme", "a request").with_deadline(soon)));
/// let mut shared = Call::new("acme", "a request");
/// shared.extensions.insert(deadlines.clone());
///
/// let below = CallDeadline::of(&shared);
/// assert_eq!(below.latest(), Some(soon));
/// let second = deadlines.join(CallDeadline::from(Some(later)));
/// assert_eq!((below.earliest(), below.latest()), (Some(soon), Some(later)));
/// let unbounded = deadlines.join(CallDeadline::default());
/// assert_eq!((deadlines.callers(), below.latest()), (3, None));
/// drop((second, unbounded));
/// assert_eq!(below.latest(), Some(soon));
/// # drop(first);
/// ```
#[derive(Clone, Default)]
pub struct SharedDeadline(Arc<Mutex<State>>);

/// Handle of one caller in a [`SharedDeadline`]. Dropping it removes the caller.
#[derive(Debug)]
#[must_use = "dropped at once, the caller has left"]
pub struct DeadlineHandle {
    of: SharedDeadline,
    entry: Entry,
}

/// Deadline of a call as layers below read it. It is the call's own [`deadline`](Call::deadline), or the [deadline of
/// the callers](SharedDeadline) that share the call, which changes as callers join and leave. If a call has both, the
/// earlier one counts.
///
/// ```
/// use std::time::Duration;
/// use llm_core::{Call, layer::CallDeadline};
///
/// # tokio_test::block_on(async {
/// let now = tokio::time::Instant::now();
/// let call = Call::new("acme", "a request").with_deadline((now + Duration::from_millis(1)).into_std());
/// let deadline = CallDeadline::of(&call);
/// assert_eq!(deadline.latest(), call.deadline);
/// // The timer is the layer's own.
/// deadline.passed(|at| tokio::time::sleep_until(at.into())).await;
/// # });
/// ```
#[derive(Clone, Debug, Default)]
pub struct CallDeadline {
    own: Option<Instant>,
    shared: Option<SharedDeadline>,
}

#[derive(Default)]
struct State {
    /// Number of callers without a deadline.
    unbounded: usize,
    /// Number of callers with each fixed deadline.
    fixed: BTreeMap<Instant, usize>,
    /// Callers whose deadline can change, because they are shared calls themselves, by id.
    moving: BTreeMap<u64, CallDeadline>,
    /// Wakers to wake when the latest deadline changes, by the listener's id.
    listeners: BTreeMap<u64, Waker>,
    /// Wakers to wake when the earliest or the latest deadline changes, by the listener's id.
    earliest_listeners: BTreeMap<u64, Waker>,
}

#[derive(Debug)]
enum Entry {
    Unbounded,
    Fixed(Instant),
    Moving(u64),
}

/// Next id of a caller or a listener. Ids are unique in the process, so that a listener can wait at several shared
/// deadlines under one id.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl SharedDeadline {
    /// Creates a shared deadline without callers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a caller with its deadline. Dropping the returned handle removes the caller.
    pub fn join(&self, caller: CallDeadline) -> DeadlineHandle {
        let CallDeadline { own, shared } = caller;
        // A shared deadline is not added as a caller of itself, because it would lock and wait for itself.
        let shared = shared.filter(|shared| !Arc::ptr_eq(&shared.0, &self.0));
        let entry = match (shared, own) {
            (Some(shared), own) => {
                let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
                self.change(|state| state.moving.insert(id, CallDeadline { own, shared: Some(shared) }));
                Entry::Moving(id)
            }
            (None, Some(at)) => {
                self.change(|state| *state.fixed.entry(at).or_default() += 1);
                Entry::Fixed(at)
            }
            (None, None) => {
                self.change(|state| state.unbounded += 1);
                Entry::Unbounded
            }
        };
        DeadlineHandle { of: self.clone(), entry }
    }

    /// Returns the earliest of the callers' deadlines; `None` if no caller has a deadline.
    pub fn earliest(&self) -> Option<Instant> {
        self.lock().earliest()
    }

    /// Returns the deadline of the shared call, which is the latest of its callers' deadlines. Returns `None` if a
    /// caller has no deadline, or if there are no callers.
    pub fn latest(&self) -> Option<Instant> {
        self.lock().latest()
    }

    /// Waits until the earliest or the latest deadline differs from its value when this function was called.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_core::layer::{CallDeadline, SharedDeadline};
    ///
    /// # tokio_test::block_on(async {
    /// let deadlines = SharedDeadline::new();
    /// let changed = deadlines.changed();
    /// let soon = tokio::time::Instant::now().into_std() + Duration::from_secs(1);
    /// let caller = deadlines.join(CallDeadline::from(Some(soon)));
    /// changed.await;
    /// # drop(caller);
    /// # });
    /// ```
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let of = CallDeadline { own: None, shared: Some(self.clone()) };
        let from = (of.earliest(), of.latest());
        async move {
            // The async block owns `of`, because the future `Changed` borrows it.
            let changed = Changed { of: &of, from: from.1, earliest: Some(from.0), id: None };
            changed.await;
        }
    }

    /// Returns the number of waiting callers. A caller that joined several times, for example once for each item of its
    /// request, counts as often.
    pub fn callers(&self) -> usize {
        let state = self.lock();
        state.unbounded + state.moving.len() + state.fixed.values().sum::<usize>()
    }

    /// Applies `change` to the callers, and wakes the listeners if it moved the deadline that they wait for.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) {
        let (changed, listeners) = {
            let mut state = self.lock();
            if state.listeners.is_empty() && state.earliest_listeners.is_empty() {
                let changed = change(&mut state);
                drop(state);
                // Dropped after the lock is released, because dropping a removed value may run code that locks this
                // state.
                drop(changed);
                return;
            }
            let (latest, earliest) = (state.latest(), state.earliest_heard());
            let changed = change(&mut state);
            let mut listeners = Vec::new();
            if state.latest() != latest {
                listeners.push(mem::take(&mut state.listeners));
            }
            if !listeners.is_empty() || state.earliest_heard() != earliest {
                listeners.push(mem::take(&mut state.earliest_listeners));
            }
            (changed, listeners)
        };
        // Listeners are woken and removed values are dropped outside of the lock, because both may lock this state.
        listeners.into_iter().flat_map(BTreeMap::into_values).for_each(Waker::wake);
        drop(changed);
    }

    /// Registers a waker for the next change of this deadline, also with each caller that is a shared call itself.
    fn listen(&self, id: u64, earliest: bool, waker: &Waker) {
        let (replaced, moving) = {
            let mut state = self.lock();
            (state.listeners(earliest).insert(id, waker.clone()), state.moving())
        };
        drop(replaced);
        moving.iter().for_each(|shared| shared.listen(id, earliest, waker));
    }

    fn unlisten(&self, id: u64, earliest: bool) {
        let (removed, moving) = {
            let mut state = self.lock();
            (state.listeners(earliest).remove(&id), state.moving())
        };
        drop(removed);
        moving.iter().for_each(|shared| shared.unlisten(id, earliest));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of callers runs inside the lock, so a poisoned lock is safe to use. The states of callers that are
        // shared calls are locked after this one, never before it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn earliest(&self) -> Option<Instant> {
        let fixed = self.fixed.first_key_value().map(|(at, _)| *at);
        self.moving.values().filter_map(CallDeadline::earliest).chain(fixed).min()
    }

    fn latest(&self) -> Option<Instant> {
        if self.unbounded > 0 {
            return None;
        }
        let fixed = self.fixed.last_key_value().map(|(at, _)| *at);
        let mut latest = fixed;
        for caller in self.moving.values() {
            latest = latest.max(Some(caller.latest()?));
        }
        latest
    }

    /// Returns the values whose change wakes the listeners of the earliest deadline. These are the earliest deadline,
    /// and the number of callers whose deadline can change, because listeners must register with such callers too.
    fn earliest_heard(&self) -> (Option<Instant>, usize) {
        (self.earliest(), self.moving.len())
    }

    fn listeners(&mut self, earliest: bool) -> &mut BTreeMap<u64, Waker> {
        if earliest { &mut self.earliest_listeners } else { &mut self.listeners }
    }

    fn moving(&self) -> Vec<SharedDeadline> {
        self.moving.values().filter_map(|caller| caller.shared.clone()).collect()
    }
}

impl Drop for DeadlineHandle {
    fn drop(&mut self) {
        match self.entry {
            Entry::Unbounded => self.of.change(|state| state.unbounded -= 1),
            Entry::Fixed(at) => self.of.change(|state| {
                let callers = state.fixed.get_mut(&at).map(|callers| {
                    *callers -= 1;
                    *callers
                });
                if callers == Some(0) {
                    state.fixed.remove(&at);
                }
            }),
            Entry::Moving(id) => self.of.change(|state| state.moving.remove(&id)),
        }
    }
}

impl CallDeadline {
    /// Returns the deadline of a call.
    pub fn of<T>(call: &Call<T>) -> Self {
        Self { own: call.deadline, shared: call.extensions.get().cloned() }
    }

    /// Returns `true` if the call has no deadline and will get none.
    pub fn is_unbounded(&self) -> bool {
        self.own.is_none() && self.shared.is_none()
    }

    /// Returns the earliest of the callers' deadlines; `None` if no caller has a deadline. A layer that collects calls
    /// before it sends them together sends them before this time.
    pub fn earliest(&self) -> Option<Instant> {
        let shared = self.shared.as_ref().and_then(SharedDeadline::earliest);
        self.own.into_iter().chain(shared).min()
    }

    /// Returns the time after which no caller wants the response, as of now; `None` if a caller has no deadline.
    pub fn latest(&self) -> Option<Instant> {
        let shared = self.shared.as_ref().and_then(SharedDeadline::latest);
        self.own.into_iter().chain(shared).min()
    }

    /// Waits until the deadline has passed, also if the deadline changes meanwhile. While the call has no deadline, the
    /// future waits until it gets one.
    ///
    /// `sleep` returns a future that is ready at the given time, for example a timer of tokio. For a call that can have
    /// no deadline the future never completes.
    pub async fn passed<F: Future<Output = ()>>(&self, mut sleep: impl FnMut(Instant) -> F) {
        loop {
            let latest = self.latest();
            let mut changed = pin!(Changed { of: self, from: latest, earliest: None, id: None });
            let Some(at) = latest else {
                changed.await;
                continue;
            };
            let mut slept = pin!(sleep(at));
            let is_over = poll_fn(|cx| match changed.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(false),
                Poll::Pending => slept.as_mut().poll(cx).map(|()| true),
            });
            if is_over.await && self.latest().is_some_and(|latest| latest <= at) {
                return;
            }
        }
    }
}

impl From<Option<Instant>> for CallDeadline {
    fn from(own: Option<Instant>) -> Self {
        Self { own, shared: None }
    }
}

/// Future that is ready when the latest deadline is no longer `from`, or, if `earliest` is given, when the earliest
/// deadline is no longer that value.
struct Changed<'a> {
    of: &'a CallDeadline,
    from: Option<Instant>,
    earliest: Option<Option<Instant>>,
    id: Option<u64>,
}

impl Future for Changed<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(shared) = &self.of.shared {
            let id = *self.id.get_or_insert_with(|| NEXT_ID.fetch_add(1, Ordering::Relaxed));
            // The waker is registered before the deadline is read, so that no change in between is missed.
            shared.listen(id, self.earliest.is_some(), cx.waker());
        }
        let is_same =
            self.of.latest() == self.from && self.earliest.is_none_or(|earliest| earliest == self.of.earliest());
        if is_same { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        if let (Some(id), Some(shared)) = (self.id, &self.of.shared) {
            shared.unlisten(id, self.earliest.is_some());
        }
    }
}

impl fmt::Debug for SharedDeadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (latest, callers) = (self.latest(), self.callers());
        f.debug_struct("SharedDeadline").field("latest", &latest).field("callers", &callers).finish()
    }
}
