//! Counters of probes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Handle that reads the counters of a [`Probe`](super::Probe) and all of its clones, and blocks their readiness.
///
/// # Example
///
/// ```
/// use llm_testkit::probe::Probe;
/// use tower::{Service, service_fn};
///
/// let (mut probe, handle) = Probe::new(service_fn(|x: u32| async move { Ok::<_, ()>(x + 1) }));
/// handle.block();
/// let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// assert!(probe.poll_ready(&mut context).is_pending());
/// handle.unblock();
/// assert!(probe.poll_ready(&mut context).is_ready());
/// assert_eq!(handle.snapshot().ready_polls, 2);
/// ```
#[derive(Debug, Clone, Default)]
pub struct ProbeHandle {
    shared: Arc<Mutex<Counts>>,
}

/// Counters of a probe and its clones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Number of clones that were made, including dropped ones.
    pub clones: u64,
    /// Number of dropped instances of the probe, including the original.
    pub dropped_services: u64,
    /// Number of polls of `poll_ready`.
    pub ready_polls: u64,
    /// Number of calls.
    pub calls: u64,
    /// Number of calls on an instance that was not ready, which tower's contract forbids.
    pub unready_calls: u64,
    /// Number of futures that are neither resolved nor dropped.
    pub in_flight: u64,
    /// Largest number of futures in flight at a time.
    pub most_in_flight: u64,
    /// Number of futures that resolved to `Ok`.
    pub succeeded: u64,
    /// Number of futures that resolved to `Err`.
    pub failed: u64,
    /// Number of futures that were dropped before they resolved.
    pub dropped_futures: u64,
}

#[derive(Debug, Default)]
struct Counts {
    seen: Snapshot,
    blocked: bool,
    waiting: Vec<Waker>,
}

impl ProbeHandle {
    /// Returns the current counters.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().seen
    }

    /// Prevents every instance from becoming ready, until [`unblock`](Self::unblock).
    pub fn block(&self) {
        self.lock().blocked = true;
    }

    /// Ends [`block`](Self::block), and wakes all tasks that wait for readiness.
    pub fn unblock(&self) {
        let mut counts = self.lock();
        counts.blocked = false;
        let waiting = std::mem::take(&mut counts.waiting);
        drop(counts);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Asserts that callers respected tower's contract of readiness.
    ///
    /// # Panics
    ///
    /// If an instance was called without a `poll_ready` before that call that returned `Ready`.
    #[track_caller]
    pub fn assert_ready_contract(&self) {
        let seen = self.snapshot();
        assert_eq!(seen.unready_calls, 0, "calls on instances that were not ready: {seen:?}");
    }

    /// Asserts that all calls have ended.
    ///
    /// # Panics
    ///
    /// If a call is still in flight.
    #[track_caller]
    pub fn assert_quiescent(&self) {
        let seen = self.snapshot();
        assert_eq!(seen.in_flight, 0, "calls still in flight: {seen:?}");
    }

    pub(super) fn see(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.lock().seen);
    }

    pub(super) fn poll_gate(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut counts = self.lock();
        if !counts.blocked {
            return Poll::Ready(());
        }
        if !counts.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            counts.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
