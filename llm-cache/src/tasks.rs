//! Tasks of calls that no caller waits for, a bounded number at a time.
//!
//! A call holds its slot until it ends, for ten minutes at most. A failed call holds it a little longer, so that a
//! failing vendor is not called for each stale entry.

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use llm_core::Error;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use crate::{Key, observe::Counts};

/// Runner of background calls. It runs a bounded number of calls at the same time, each in a task for a bounded time.
pub(crate) struct Tasks {
    /// Runtime that the tasks run on.
    runtime: Handle,
    /// Permits of the slots.
    room: Arc<Semaphore>,
    /// Number of calls that may run at the same time.
    most: u32,
    /// Keys of the requests that are being sent.
    busy: Mutex<HashSet<Key>>,
    counts: Arc<Counts>,
}

/// Slot of one call for some requests.
pub(crate) struct Slot {
    of: Arc<Tasks>,
    /// Keys of the requests; none for a call that was already running when it got its slot.
    keys: Vec<Key>,
    _permit: OwnedSemaphorePermit,
}

/// Longest time that a background call may run.
const LONGEST: Duration = Duration::from_secs(600);
/// Time for which a failed call keeps its slot, unless the vendor stated a waiting time.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time for which a failed call keeps its slot.
const MOST_PAUSE: Duration = Duration::from_secs(30);
/// Longest time that [`Tasks::idle`] waits.
const LAST_WAIT: Duration = Duration::from_secs(60);

impl Tasks {
    pub(crate) fn new(runtime: Handle, most: u32, counts: Arc<Counts>) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(most as usize));
        Arc::new(Self { runtime, room, most, busy: Mutex::default(), counts })
    }

    /// Takes a slot for a call for some requests. Requests that already have a slot are left out. Returns `None` if no
    /// request is left, or if no slot is free. A lack of slots is counted.
    pub(crate) fn slot(self: &Arc<Self>, mut keys: Vec<Key>) -> Option<Slot> {
        let mut busy = self.busy();
        keys.retain(|key| !busy.contains(key));
        if keys.is_empty() {
            return None;
        }
        let permit = self.permit()?;
        busy.extend(keys.iter().cloned());
        drop(busy);
        Some(Slot { of: Arc::clone(self), keys, _permit: permit })
    }

    /// Returns a slot for a running call whose last caller has disconnected, and counts the call. Returns `None` if all
    /// slots are taken, which is counted.
    pub(crate) fn detached_slot(self: &Arc<Self>) -> Option<Slot> {
        let permit = self.permit()?;
        self.counts.detached.one();
        Some(Slot { of: Arc::clone(self), keys: Vec::new(), _permit: permit })
    }

    fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().inspect_err(|_| self.counts.skipped.one()).ok()
    }

    /// Waits until no background call runs, but at most for a minute.
    pub(crate) async fn idle(&self) {
        // The timer belongs to the tasks' runtime, because the caller may be in no runtime.
        let idle = {
            let _entered = self.runtime.enter();
            timeout(LAST_WAIT, self.room.acquire_many(self.most))
        };
        let _ = idle.await;
    }

    fn busy(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Returns the keys of the requests that the call is for.
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Runs a call in a task for ten minutes at most, and then releases the slot. A failed call keeps the slot during
    /// the pause that follows.
    pub(crate) fn run(self, call: impl Future<Output = Result<(), Error>> + Send + 'static) {
        let runtime = self.of.runtime.clone();
        runtime.spawn(async move {
            if let Ok(Err(error)) = timeout(LONGEST, call).await {
                sleep(error.retry_after().unwrap_or(PAUSE).min(MOST_PAUSE)).await;
            }
            drop(self);
        });
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut busy = self.of.busy();
        for key in &self.keys {
            busy.remove(key);
        }
    }
}
