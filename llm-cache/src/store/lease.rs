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
use crate::key::CallKeys;

/// Who is about to make a call.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "no store here has leases"))]
pub(crate) struct Claimant<'a> {
    pub(crate) keys: &'a CallKeys,
    pub(crate) priority: Priority,
    pub(crate) wait: MaxWait,
    /// True if a stored answer will do.
    pub(crate) is_usable: &'a (dyn Fn(&Arc<Entry>) -> bool + Sync),
}

/// Longest that a call waits before it is made.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "no store here has leases"))]
pub(crate) struct MaxWait {
    /// When it waits no longer, whatever it waits for.
    pub(crate) until: Instant,
    /// True if it waits for the response to a call of another process.
    pub(crate) for_others: bool,
}

/// What becomes of somebody who is about to make a call.
#[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "no store here has leases"))]
pub(crate) enum Claim {
    /// The answer has been stored meanwhile.
    Found(Arc<Entry>),
    /// He makes the call.
    Lead(Lease),
    /// Somebody else is making it still.
    Taken,
}

/// The right to make a call, alone among all who share a store. Where nobody shares it, or it cannot be asked, everybody
/// has it.
///
/// Whoever holds it keeps it by [`renew`](Self::keep). Stored under it, an answer ends it; dropped, it goes to the next.
pub(crate) struct Lease(Option<Arc<dyn Hold>>);

/// A lease in a store.
pub(crate) trait Hold: Send + Sync {
    /// How often it must be kept.
    fn pace(&self) -> Duration;

    /// Keeps it, if it is time to. It never waits.
    fn renew(&self);

    /// The call is over. It never waits.
    fn end(&self, outcome: Outcome);
}

/// How a call ended for those who wait for its answer elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has failed, or its answer is kept for nobody: each makes a call of his own.
    Over,
    /// Its callers left: the next makes it again.
    Left,
}

impl Lease {
    /// The right of everybody.
    pub(crate) fn free() -> Self {
        Self(None)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn new(hold: impl Hold + 'static) -> Self {
        Self(Some(Arc::new(hold)))
    }

    /// Awaits a call by several leases, and keeps them meanwhile.
    pub(crate) async fn all_during<'a, V>(
        leases: impl Iterator<Item = &'a Self>,
        mut call: Pin<&mut impl Future<Output = V>>,
    ) -> V {
        let holds: Vec<&Arc<dyn Hold>> = leases.filter_map(|lease| lease.0.as_ref()).collect();
        let Some(pace) = holds.iter().map(|hold| hold.pace()).min() else { return call.await };
        let mut alarm = Box::pin(sleep(pace));
        poll_fn(|cx| {
            if let Poll::Ready(value) = call.as_mut().poll(cx) {
                return Poll::Ready(value);
            }
            while alarm.as_mut().poll(cx).is_ready() {
                holds.iter().for_each(|hold| hold.renew());
                alarm.as_mut().reset(Instant::now() + pace);
            }
            Poll::Pending
        })
        .await
    }

    /// What keeps the lease while an answer arrives; nothing if there is nothing to keep.
    pub(crate) fn renewer(&self) -> Option<impl Fn() + Send + 'static> {
        let hold = Arc::downgrade(self.0.as_ref()?);
        Some(move || {
            if let Some(hold) = hold.upgrade() {
                hold.renew();
            }
        })
    }

    /// The call is over, and its answer is stored if it is to be.
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
