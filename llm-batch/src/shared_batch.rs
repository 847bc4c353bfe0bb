use std::{
    future::poll_fn,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use futures_util::future::{Either, select};
use llm_core::{Error, layer::SharedDeadline};
use tokio::time::{Instant, sleep_until};

use crate::{deliver::Entry, window::Flush, window::Window};

/// Batch of several callers, from its first one to its last response.
pub(crate) struct SharedBatch<I, O> {
    /// Deadlines of its callers.
    pub(crate) deadline: SharedDeadline,
    state: Mutex<State<I, O>>,
}

struct State<I, O> {
    window: Window,
    closed: Option<Flush>,
    slots: Vec<Slot<I, O>>,
    /// Waker of the driver, and the time at which its timer wakes it.
    driver: Option<(Waker, Instant)>,
}

/// Place of a caller. A place that a caller leaves is not given to another one.
enum Slot<I, O> {
    Waiting(Entry<I>, Instant),
    Sent,
    Done(Result<O, Error>),
    Left,
}

impl<I, O> SharedBatch<I, O> {
    pub(crate) fn new(window: Window) -> Self {
        let state = State { window, closed: None, slots: Vec::new(), driver: None };
        Self { deadline: SharedDeadline::new(), state: Mutex::new(state) }
    }

    /// Changes the window, and wakes the driver if the batch is to be sent at once, or clearly earlier.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Window) -> (R, Option<Flush>)) -> R {
        let (changed, waker) = {
            let mut state = self.lock();
            let (changed, closed) = change(&mut state.window);
            state.closed = state.closed.or(closed);
            (changed, state.early_waker())
        };
        waker.into_iter().for_each(Waker::wake);
        changed
    }

    /// Adds a caller, and returns its place.
    pub(crate) fn push(&self, entry: Entry<I>, now: Instant) -> usize {
        let mut state = self.lock();
        state.slots.push(Slot::Waiting(entry, now));
        state.slots.len() - 1
    }

    /// Waits until the batch is to be sent.
    pub(crate) async fn flushed(&self) -> Flush {
        let mut timer = pin!(sleep_until(self.lock().window.due()));
        loop {
            let changed = self.deadline.changed();
            self.lock().window.limit(self.deadline.earliest().map(Instant::from_std));
            let due = poll_fn(|cx| {
                loop {
                    let due = {
                        let mut state = self.lock();
                        if let Some(cause) = state.closed.or_else(|| state.window.is_due(Instant::now())) {
                            return std::task::Poll::Ready(cause);
                        }
                        let due = state.window.due();
                        state.driver = Some((cx.waker().clone(), due));
                        due
                    };
                    if timer.deadline() != due {
                        timer.as_mut().reset(due);
                    }
                    std::task::ready!(timer.as_mut().poll(cx));
                }
            });
            if let Either::Left((cause, _)) = select(due, pin!(changed)).await {
                return cause;
            }
        }
    }

    /// Takes the items of the callers that are left, with the places of the callers, and calls `waited` with the time that
    /// each waited.
    pub(crate) fn take(&self, now: Instant, mut waited: impl FnMut(Duration)) -> Vec<(usize, Entry<I>)> {
        let mut state = self.lock();
        let slots = state.slots.iter_mut().enumerate();
        let entry = |(place, slot): (usize, &mut Slot<I, O>)| match std::mem::replace(slot, Slot::Sent) {
            Slot::Waiting(entry, since) => {
                waited(now.saturating_duration_since(since));
                Some((place, entry))
            }
            other => {
                *slot = other;
                None
            }
        };
        slots.filter_map(entry).collect()
    }

    pub(crate) fn has_left(&self, place: usize) -> bool {
        matches!(self.lock().slots[place], Slot::Left)
    }

    /// Stores the result for a caller, unless it has left.
    pub(crate) fn finish(&self, place: usize, result: Result<O, Error>) {
        let unwanted = {
            let slot = &mut self.lock().slots[place];
            match slot {
                Slot::Left => Some(result),
                _ => {
                    *slot = Slot::Done(result);
                    None
                }
            }
        };
        // Outside of the lock: a response may come back here.
        drop(unwanted);
    }

    /// Returns the result for a caller, once.
    pub(crate) fn result(&self, place: usize) -> Option<Result<O, Error>> {
        let slot = &mut self.lock().slots[place];
        match std::mem::replace(slot, Slot::Left) {
            Slot::Done(result) => Some(result),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// Returns `true` if the item of a caller was taken to be sent.
    pub(crate) fn is_sent(&self, place: usize) -> bool {
        matches!(self.lock().slots[place], Slot::Sent)
    }

    pub(crate) fn leave(&self, place: usize) {
        let left = std::mem::replace(&mut self.lock().slots[place], Slot::Left);
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, State<I, O>> {
        // Nothing foreign runs inside, and the state is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I, O> State<I, O> {
    fn early_waker(&mut self) -> Option<Waker> {
        let (_, at) = self.driver.as_ref()?;
        let is_early = self.closed.is_some() || self.window.due() + Window::RESOLUTION <= *at;
        if is_early { self.driver.take().map(|(waker, _)| waker) } else { None }
    }
}
