use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_core::Stream;

const UNBROKEN: &str = "nobody panics while it is locked";

/// Next action of a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// Yields an item.
    Item(u32),
    /// Waits until the test wakes the source.
    Wait,
    /// Wakes its own task while it is polled.
    WakeSelf,
    /// Wakes its own task several times while it is polled.
    WakeOften,
    /// Panics.
    Panic,
}

/// Stream that follows a script, and then ends.
pub(super) struct Source {
    steps: VecDeque<Step>,
    waiting: bool,
    knob: Knob,
}

/// Handle that wakes a [`Source`] and counts events of the source.
#[derive(Clone, Default)]
pub(super) struct Knob(Arc<Inner>);

#[derive(Default)]
struct Inner {
    waker: Mutex<Option<Waker>>,
    open: AtomicBool,
    polls: AtomicU64,
    dropped: AtomicBool,
}

impl Source {
    pub(super) fn new(steps: &[Step]) -> (Self, Knob) {
        let knob = Knob::default();
        (Self { steps: steps.iter().copied().collect(), waiting: false, knob: knob.clone() }, knob)
    }
}

impl Knob {
    /// Returns true if the source waits to be woken.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.waker.lock().expect(UNBROKEN).is_some()
    }

    /// Lets the source continue.
    pub(super) fn wake(&self) {
        let waker = self.0.waker.lock().expect(UNBROKEN).take();
        self.0.open.store(true, Ordering::SeqCst);
        waker.expect("the source waits").wake();
    }

    /// Wakes the source although it has no new item.
    pub(super) fn wake_in_vain(&self) {
        let waker = self.0.waker.lock().expect(UNBROKEN).clone();
        waker.expect("the source waits").wake();
    }

    pub(super) fn polls(&self) -> u64 {
        self.0.polls.load(Ordering::SeqCst)
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.0.dropped.load(Ordering::SeqCst)
    }
}

impl Stream for Source {
    type Item = u32;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        self.knob.0.polls.fetch_add(1, Ordering::SeqCst);
        if self.waiting {
            if !self.knob.0.open.swap(false, Ordering::SeqCst) {
                *self.knob.0.waker.lock().expect(UNBROKEN) = Some(cx.waker().clone());
                return Poll::Pending;
            }
            self.waiting = false;
        }
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Item(item)) => Poll::Ready(Some(item)),
            Some(Step::Panic) => panic!("the source panics, as it should here"),
            Some(Step::Wait) => {
                self.waiting = true;
                *self.knob.0.waker.lock().expect(UNBROKEN) = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(wakes) => {
                let times = if wakes == Step::WakeOften { 3 } else { 1 };
                (0..times).for_each(|_| cx.waker().wake_by_ref());
                Poll::Pending
            }
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.knob.0.dropped.store(true, Ordering::SeqCst);
    }
}

/// Waker that records whether it was woken.
#[derive(Debug, Default)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    /// Returns true if the waker was woken since the last call.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}
