//! Calls that no caller waits for: a bounded number of them.
//!
//! A call holds its slot until it ends, for ten minutes at most. A failed one holds it a little longer, so that a vendor in
//! trouble is not called for each stale entry.

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

use crate::Key;

/// Runs background calls in tasks, a bounded number at a time, none of them for long.
pub(crate) struct Tasks {
    /// Runtime that the tasks run on.
    runtime: Handle,
    /// Room for calls.
    room: Arc<Semaphore>,
    /// Number of calls that may run at a time.
    most: u32,
    /// Keys of the requests that are being sent; no more than there are slots.
    busy: Mutex<HashSet<Key>>,
}

/// Slot of one call for some requests.
pub(crate) struct Slot {
    of: Arc<Tasks>,
    keys: Vec<Key>,
    _permit: OwnedSemaphorePermit,
}

/// Reasons why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Calls for all of these requests run already.
    Busy,
    /// All slots are taken.
    Full,
}

/// Longest time that a call may run.
const LONGEST: Duration = Duration::from_secs(600);
/// Time that a failed call keeps its slot, so that a vendor in trouble is not called for each stale entry that is
/// served.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest such time, where the vendor said how long to wait.
const MOST_PAUSE: Duration = Duration::from_secs(30);
/// Longest time that [`Tasks::idle`] waits.
const LAST_WAIT: Duration = Duration::from_secs(60);

impl Tasks {
    pub(crate) fn new(runtime: Handle, most: u32) -> Arc<Self> {
        let room = Arc::new(Semaphore::new(most as usize));
        Arc::new(Self { runtime, room, most, busy: Mutex::default() })
    }

    /// Returns a slot for a call for those of some requests for which no call runs here.
    pub(crate) fn slot(self: &Arc<Self>, mut keys: Vec<Key>) -> Result<Slot, Denied> {
        let mut busy = self.busy();
        keys.retain(|key| !busy.contains(key));
        if keys.is_empty() {
            return Err(Denied::Busy);
        }
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Denied::Full)?;
        busy.extend(keys.iter().cloned());
        drop(busy);
        Ok(Slot { of: Arc::clone(self), keys, _permit: permit })
    }

    /// Returns a slot for a call that runs already.
    pub(crate) fn detached_slot(self: &Arc<Self>) -> Option<Slot> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Slot { of: Arc::clone(self), keys: Vec::new(), _permit: permit })
    }

    /// Runs a call in its slot.
    pub(crate) fn run(&self, slot: Slot, call: impl Future<Output = Result<(), Error>> + Send + 'static) {
        self.runtime.spawn(async move {
            if let Ok(Err(error)) = timeout(LONGEST, call).await {
                sleep(error.retry_after().unwrap_or(PAUSE).min(MOST_PAUSE)).await;
            }
            drop(slot);
        });
    }

    /// Drives a detached call to its end while its slot is held.
    pub(crate) fn complete(&self, slot: Slot, completion: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(async move {
            let _ = timeout(LONGEST, completion).await;
            drop(slot);
        });
    }

    /// Waits until no call runs, but not for ever.
    pub(crate) async fn idle(&self) {
        // Its own runtime has the timer: the caller may have none.
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
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut busy = self.of.busy();
        for key in &self.keys {
            busy.remove(key);
        }
    }
}
