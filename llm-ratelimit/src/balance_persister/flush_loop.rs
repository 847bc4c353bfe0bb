//! State that a persister shares with its thread.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::StoreError;

/// State of the thread that writes changes in rounds. A round writes all changes that were made before it began.
#[derive(Debug)]
pub(super) struct FlushLoop {
    requested: Mutex<Requested>,
    changed: Condvar,
    done: watch::Sender<Done>,
}

/// Work for the thread's next round.
#[derive(Debug, Default)]
struct Requested {
    /// Number of the latest round that has begun.
    begun: u64,
    /// Number of the latest round that a caller waits for.
    wanted: u64,
    forget: Vec<String>,
    closing: bool,
}

/// Latest round that the thread has completed, with its error.
#[derive(Clone, Debug, Default)]
struct Done {
    round: u64,
    error: Option<StoreError>,
    ended: bool,
}

/// Round that has begun, with the work that it must do.
#[derive(Debug)]
pub(super) struct Round {
    number: u64,
    /// Tenants whose balances are to be removed from the store.
    pub(super) forget: Vec<String>,
    pub(super) is_last: bool,
}

impl FlushLoop {
    /// Waits until a round that began after this call has ended. Returns the error of that round.
    pub(super) async fn next(&self) -> Result<(), StoreError> {
        let wanted = {
            let mut requested = self.lock();
            requested.wanted = requested.begun + 1;
            requested.wanted
        };
        self.changed.notify_all();
        self.until(|done| done.ended || done.round >= wanted, |done| done.round >= wanted).await
    }

    /// Waits until the thread has ended. Returns the error of its last round.
    pub(super) async fn ended(&self) -> Result<(), StoreError> {
        self.until(|done| done.ended, |_| true).await
    }

    /// Requests that the next round removes a tenant's balances from the store.
    pub(super) fn forget(&self, tenant: &str) {
        self.lock().forget.push(tenant.to_owned());
    }

    /// Makes the thread end after one more round.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    /// Waits until the next round is due, which is after `pause`, or earlier if a caller waits for it. The thread calls
    /// this method.
    pub(super) fn begin(&self, pause: Duration) -> Round {
        let idle = |requested: &mut Requested| requested.wanted <= requested.begun && !requested.closing;
        let waited = self.changed.wait_timeout_while(self.lock(), pause, idle);
        let mut requested = waited.unwrap_or_else(PoisonError::into_inner).0;
        requested.begun += 1;
        Round { number: requested.begun, forget: std::mem::take(&mut requested.forget), is_last: requested.closing }
    }

    /// Reports the end of a round. The thread calls this method.
    pub(super) fn end(&self, round: &Round, outcome: Result<(), StoreError>) {
        self.done.send_replace(Done { round: round.number, error: outcome.err(), ended: false });
    }

    /// Wakes all callers that wait for a round, because no further round will begin. The thread calls this method.
    pub(super) fn stop(&self) {
        self.done.send_modify(|done| done.ended = true);
    }

    async fn until(&self, over: impl Fn(&Done) -> bool, served: impl Fn(&Done) -> bool) -> Result<(), StoreError> {
        let mut done = self.done.subscribe();
        // `self` owns the sender, so the channel is open.
        let done = done.wait_for(|done| over(done)).await.map_err(|_| StoreError::Closed)?.clone();
        match done.error {
            Some(error) => Err(error),
            None if served(&done) => Ok(()),
            None => Err(StoreError::Closed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Requested> {
        self.requested.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for FlushLoop {
    fn default() -> Self {
        Self { requested: Mutex::default(), changed: Condvar::new(), done: watch::Sender::new(Done::default()) }
    }
}
