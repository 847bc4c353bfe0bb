//! What probes have seen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Reads and steers a [`Probe`](super::Probe) and all of its clones.
#[derive(Debug, Clone, Default)]
pub struct ProbeHandle {
    shared: Arc<Mutex<Counts>>,
}

/// What a probe and its clones have seen so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Clones made.
    pub clones: u64,
    /// Instances dropped, the first one included.
    pub dropped_services: u64,
    /// Calls of `poll_ready`.
    pub ready_polls: u64,
    /// Calls made.
    pub calls: u64,
    /// Calls on an instance that was not ready: breaches of the contract.
    pub unready_calls: u64,
    /// Futures that are neither resolved nor dropped.
    pub in_flight: u64,
    /// The most of them at once.
    pub most_in_flight: u64,
    /// Futures that resolved to `Ok`.
    pub succeeded: u64,
    /// Futures that resolved to `Err`.
    pub failed: u64,
    /// Futures dropped before they resolved.
    pub dropped_futures: u64,
}

#[derive(Debug, Default)]
struct Counts {
    seen: Snapshot,
    blocked: bool,
    waiting: Vec<Waker>,
}

impl ProbeHandle {
    /// What has been seen so far.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().seen
    }

    /// From now on, no instance becomes ready.
    pub fn block(&self) {
        self.lock().blocked = true;
    }

    /// Ends [`block`](Self::block), and wakes whoever waits for readiness.
    pub fn unblock(&self) {
        let mut counts = self.lock();
        counts.blocked = false;
        let waiting = std::mem::take(&mut counts.waiting);
        drop(counts);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// # Panics
    ///
    /// If an instance was called that had not been polled to readiness for that call.
    #[track_caller]
    pub fn assert_ready_contract(&self) {
        let seen = self.snapshot();
        assert_eq!(seen.unready_calls, 0, "calls on instances that were not ready: {seen:?}");
    }

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
