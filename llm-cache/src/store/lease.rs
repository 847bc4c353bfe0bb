//! Leases. Among the processes that share a store, the holder of a lease has the right to send a call.
//!
//! A leader claims a lease before it sends a call, renews it while the call runs, and ends it with the outcome of the
//! call. In stores without leases every claim succeeds at once.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use llm_core::Priority;
use tokio::time::{Instant, sleep};

use super::Entry;
use crate::{Tag, key::CallKeys};

/// Caller that is about to send a call.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "no store here has leases"))]
pub(crate) struct Claimant<'a> {
    pub(crate) keys: &'a CallKeys,
    /// Tags of the response. If one of them is invalidated, the response of a call that began before is not served.
    pub(crate) tags: &'a [Tag],
    pub(crate) priority: Priority,
    pub(crate) wait: MaxWait,
}

/// Predicate that is true if an entry can be served instead of sending the call.
pub(crate) type IsUsable<'a> = dyn Fn(&Arc<Entry>) -> bool + Sync + 'a;

/// Longest time that a call waits before it is sent.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "no store here has leases"))]
pub(crate) struct MaxWait {
    /// Time at which every wait ends, whether for the store or for another process.
    pub(crate) until: Instant,
    /// True if the call also waits for the response of another process's call.
    pub(crate) for_others: bool,
}

/// Result of a claim.
#[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "no store here has leases"))]
pub(crate) enum Claim {
    /// Another call has stored this entry since the last lookup.
    Found(Arc<Entry>),
    /// The claimant holds the lease, and sends the call.
    Lead(Lease),
    /// Another process holds the lease, and its call has not ended.
    Taken,
}

/// Right to send a call, which only one of the processes that share a store holds. If the store has no leases or does
/// not reply, every process has the right.
///
/// The holder keeps the lease by [`renew`](Hold::renew). Storing the response ends the lease. If the lease is dropped,
/// the next waiter can get it.
pub(crate) struct Lease(Option<Arc<dyn Hold>>);

/// Lease in a store.
pub(crate) trait Hold: Send + Sync {
    /// Returns the longest time between two renewals.
    fn pace(&self) -> Duration;

    /// Renews the lease if a renewal is due. Never waits.
    fn renew(&self);

    /// Ends the lease, with the outcome of its call. Never waits.
    fn end(&self, outcome: Outcome);
}

/// Outcome of a call, for waiters in other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The call failed, or its response is not stored. Each waiter sends a call of its own.
    Over,
    /// The call has no result for other processes, because all of its callers in this process disconnected, or its
    /// error concerns only one caller. The next waiter sends the call again.
    Left,
}

impl Lease {
    /// Returns a lease that excludes no other process.
    pub(crate) fn free() -> Self {
        Self(None)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn new(hold: impl Hold + 'static) -> Self {
        Self(Some(Arc::new(hold)))
    }

    /// Awaits a call under several leases, and renews the leases as long as this future is polled.
    pub(crate) async fn all_during<'a, V>(
        leases: impl Iterator<Item = &'a Self>,
        mut call: Pin<&mut impl Future<Output = V>>,
    ) -> V {
        let holds: Vec<&Arc<dyn Hold>> = leases.filter_map(|lease| lease.0.as_ref()).collect();
        let Some(pace) = holds.iter().map(|hold| hold.pace()).min() else { return call.await };
        // Boxed, so that calls without a lease do not carry the size of a timer.
        let mut alarm = Box::pin(sleep(pace));
        let renewing = poll_fn(|cx| {
            if let Poll::Ready(value) = call.as_mut().poll(cx) {
                return Poll::Ready(value);
            }
            while alarm.as_mut().poll(cx).is_ready() {
                holds.iter().for_each(|hold| hold.renew());
                alarm.as_mut().reset(Instant::now() + pace);
            }
            Poll::Pending
        });
        Box::pin(renewing).await
    }

    /// Returns a function that renews the lease; `None` if the lease needs no renewal.
    pub(crate) fn renewer(&self) -> Option<impl Fn() + Send + 'static> {
        let hold = Arc::downgrade(self.0.as_ref()?);
        Some(move || {
            if let Some(hold) = hold.upgrade() {
                hold.renew();
            }
        })
    }

    /// Ends the lease after its call. If the response is to be stored, it must have been stored before.
    pub(crate) fn end(mut self, outcome: Outcome) {
        if let Some(hold) = self.0.take() {
            hold.end(outcome);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(hold) = self.0.take() {
            hold.end(Outcome::Left);
        }
    }
}
