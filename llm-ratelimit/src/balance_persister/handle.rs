//! Public handle of a persister, its builder, and the handle by which the layer waits for a write.

use std::{fmt, sync::Arc, time::Duration};

use super::{flush_loop::FlushLoop, thread};
use crate::{
    Balance, Limiter, NoRuntime, Reason, Store, StoreError,
    runtime::{block_on, timers},
};

/// Persister that keeps a limiter's calendar windows in a [`Store`], so that quotas and budgets of days, weeks and
/// months outlive the process. Buckets and slots are not stored, because their contents are soon outdated.
///
/// # What is lost
///
/// Changes are collected and written several times a second, in the background. So a killed process or a power failure
/// loses the reservations since the last completed write, which are at most [`every`](BalancePersisterBuilder::every)
/// (50 ms) plus the duration of a write old. If the disk is slow or broken, calls that count in calendar windows are
/// refused once a write has taken [`within`](BalancePersisterBuilder::within) (1 s), so that nothing older than the sum
/// of both is lost. To lose nothing at all, call [`flush`](Self::flush) between reserving and sending, or let the layer
/// do so ([`RateLimitLayer::durable_reservations`](crate::RateLimitLayer::durable_reservations)).
///
/// After a crash, the amounts reserved by calls that were running count as spent, because their usage is unknown.
///
/// ```
/// # use llm_ratelimit::{Demand, Limiter, Plans};
/// use llm_ratelimit::{BalancePersister, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = Limiter::builder(Plans::uniform(["5 proposals/month", "10k tokens/day"])?).unit("proposal").build()?;
/// let persister = BalancePersister::builder(Store::open("memory:")?).start(&limiter)?;
/// // … calls …
/// limiter.close().await?;
/// persister.close().await?;
/// # Ok(())
/// # }
/// ```
pub struct BalancePersister {
    limiter: Limiter,
    pub(super) flush_loop: Arc<FlushLoop>,
    within: Duration,
    /// Lock that allows the removal of only one tenant at a time.
    forgetting: tokio::sync::Mutex<()>,
}

/// Handle with which the layer waits for a persister's next write, at most for the time that a write may take.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    flush_loop: Arc<FlushLoop>,
    within: Duration,
}

/// Settings of a [`BalancePersister`].
#[derive(Debug)]
#[must_use]
pub struct BalancePersisterBuilder {
    store: Store,
    every: Duration,
    within: Duration,
}

/// Age, in nanoseconds, from which windows that have ended and have no debt are removed from the store when a persister
/// starts.
const KEPT: u64 = 400 * 86_400 * 1_000_000_000;

impl BalancePersister {
    /// Creates the settings of a persister for this store.
    pub fn builder(store: Store) -> BalancePersisterBuilder {
        BalancePersisterBuilder { store, every: Duration::from_millis(50), within: Duration::from_secs(1) }
    }

    /// Waits until all changes so far are written, however long that takes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if the write failed, which will be tried again; [`StoreError::Closed`] if the persister is
    /// closed.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.flush_loop.next().await
    }

    /// Drops the usage of a tenant in the limiter ([`Limiter::forget`]) and in the store. Waits until the store has
    /// removed it.
    ///
    /// # Errors
    ///
    /// The errors of [`flush`](Self::flush). In that case the usage is dropped in the limiter, and the store will
    /// remove it later.
    pub async fn forget(&self, tenant: &str) -> Result<(), StoreError> {
        let _one = self.forgetting.lock().await;
        self.limiter.forget(tenant).await;
        self.flush_loop.forget(tenant);
        self.flush_loop.next().await
    }

    /// Writes the remaining changes, and ends the thread. Close the limiter first, because later settlements are not
    /// stored.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if the write failed. The remaining changes are then lost.
    pub async fn close(self) -> Result<(), StoreError> {
        self.flush_loop.close();
        self.flush_loop.ended().await
    }

    pub(crate) fn recorder(&self) -> Recorder {
        Recorder { flush_loop: Arc::clone(&self.flush_loop), within: self.within }
    }
}

impl Recorder {
    pub(crate) async fn record(&self) -> Result<(), Reason> {
        timers().map_err(|NoRuntime| Reason::NoRuntime)?;
        let written = tokio::time::timeout(self.within, self.flush_loop.next()).await;
        if let Ok(Ok(())) = written { Ok(()) } else { Err(Reason::Unrecorded) }
    }
}

impl BalancePersisterBuilder {
    /// Sets the time for which changes are collected before they are written: 50 ms by default.
    pub fn every(mut self, pause: Duration) -> Self {
        self.every = pause;
        self
    }

    /// Sets the time that a write may take, including its repetitions, before calls are refused: 1 s by default.
    pub fn within(mut self, longest: Duration) -> Self {
        self.within = longest;
        self
    }

    /// Restores the balances in the store, and **starts a thread** that writes later changes. The thread ends when the
    /// persister is closed. If the persister is dropped instead, the thread writes the remaining changes and ends in
    /// the background. Use only one persister for each limiter and each store.
    ///
    /// The method reads the whole store, and blocks until the disk has answered.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`] and [`StoreError::Write`], the latter also if the thread cannot be started.
    pub fn start(self, limiter: &Limiter) -> Result<BalancePersister, StoreError> {
        self.store.prune(limiter.0.now().saturating_sub(KEPT))?;
        // A window that has ended and has no debt affects no call, so it is not loaded.
        let now = limiter.0.now();
        let counts = |balance: &Balance| !balance.window.is_blank_at(now);
        block_on(limiter.restore(self.store.balances()?.into_iter().filter(counts)));
        let Self { store, every, within } = self;
        let flush_loop = Arc::new(FlushLoop::default());
        thread::start(store, limiter.clone(), Arc::clone(&flush_loop), every, within)?;
        Ok(BalancePersister { limiter: limiter.clone(), flush_loop, within, forgetting: tokio::sync::Mutex::default() })
    }
}

impl Drop for BalancePersister {
    fn drop(&mut self) {
        self.flush_loop.close();
    }
}

impl fmt::Debug for BalancePersister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancePersister").field("limiter", &self.limiter).finish_non_exhaustive()
    }
}
