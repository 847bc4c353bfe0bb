//! Public handle of a persister, its settings, and the layer's handle for waiting until a write has ended.

use std::{fmt, sync::Arc, time::Duration};

use super::{flush_loop::FlushLoop, thread};
use crate::{
    Balance, Limiter, NoRuntime, Reason, Store, StoreError,
    runtime::{block_on, timers},
};

/// Keeps a limiter's calendar windows in a [`Store`]: quotas and budgets of days, weeks and months outlive the process.
/// Buckets and slots do not; they would be full again soon.
///
/// # What is lost
///
/// Changes are collected and written a few times a second, off the path of calls, so a killed process or a power failure
/// loses the reservations since the last write: those younger than
/// [`every`](BalancePersisterBuilder::every) (50 ms) and the write that runs. Where the disk is slow or broken, calls that
/// count in calendar windows are refused once a write has taken [`within`](BalancePersisterBuilder::within) (1 s), so nothing
/// older than both together is ever lost. To lose nothing at all, [`flush`](Self::flush) between reserving and sending, or
/// let the layer do so ([`RateLimitLayer::durable_reservations`](crate::RateLimitLayer::durable_reservations)).
///
/// What was reserved by calls that were running counts as spent after a crash, because their usage is unknown.
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
    /// Lock that lets only one tenant be forgotten at a time.
    forgetting: tokio::sync::Mutex<()>,
}

/// Handle of the layer that waits for a persister's next write, at most for the time that a write may take.
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

/// Age in nanoseconds at which windows that ended and owe nothing are removed at a start.
const KEPT: u64 = 400 * 86_400 * 1_000_000_000;

impl BalancePersister {
    /// Returns the settings of a persister for this store.
    pub fn builder(store: Store) -> BalancePersisterBuilder {
        BalancePersisterBuilder { store, every: Duration::from_millis(50), within: Duration::from_secs(1) }
    }

    /// Waits until all earlier changes are written, however long the disk takes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`]: it will be tried again. [`StoreError::Closed`].
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.flush_loop.next().await
    }

    /// Forgets a tenant in the limiter ([`Limiter::forget`]) and in the store. Waits until the store has removed it.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush). The limiter has then forgotten the tenant, and the store will remove it later.
    pub async fn forget(&self, tenant: &str) -> Result<(), StoreError> {
        let _one = self.forgetting.lock().await;
        self.limiter.forget(tenant).await;
        self.flush_loop.forget(tenant);
        self.flush_loop.next().await
    }

    /// Writes the remaining changes and ends. Close the limiter first: later settlements are not stored.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`]: the rest is lost.
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

    /// Sets the time that a write may take, with its repetitions, before calls are refused: 1 s by default.
    pub fn within(mut self, longest: Duration) -> Self {
        self.within = longest;
        self
    }

    /// Puts back what the store holds, and **starts a thread** that writes what changes from now on. It ends when the
    /// persister is closed. Dropped, it writes the rest and ends by itself, and no caller waits for it. A limiter has one
    /// persister, and a store has one.
    ///
    /// This reads the whole store, so it blocks for as long as the disk takes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`] and [`StoreError::Write`]; and if there can be no thread.
    pub fn start(self, limiter: &Limiter) -> Result<BalancePersister, StoreError> {
        self.store.prune(limiter.0.now().saturating_sub(KEPT))?;
        // A window that is over and owes nothing delays no call, and is not loaded.
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
