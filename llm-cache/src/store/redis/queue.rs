//! What is to be done behind the callers' backs: a bounded number of jobs of a bounded size.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use llm_redis::Key as Spot;
use tokio::sync::{mpsc, oneshot};

use super::shared::Ticket;
use crate::{Key, StoreError, store::Entry};

/// The way to the writer. Nothing here waits.
pub(super) struct Queue {
    jobs: mpsc::Sender<Job>,
    bytes: Arc<AtomicU64>,
}

/// Something to do.
pub(super) enum Job {
    /// Write an entry, and end the lease that it was bought by.
    Store { key: Key, entry: Arc<Entry>, ticket: Option<Ticket>, _room: Room },
    /// Keep a lease.
    Keep(Ticket),
    /// Give a lease back, and say why.
    Release { ticket: Ticket, message: &'static str },
    /// Remove a value, after all that came before, and say what became of it.
    Remove(Spot, oneshot::Sender<Result<(), StoreError>>),
    /// Say when all that came before is done.
    Done(oneshot::Sender<()>),
}

/// Room for the bytes of a job.
pub(super) struct Room {
    bytes: u64,
    taken: Arc<AtomicU64>,
}

/// The most jobs that wait.
const MOST: usize = 8_192;
/// The most that waits to be written, in bytes.
const MOST_BYTES: u64 = 16 << 20;

impl Queue {
    pub(super) fn new() -> (Self, mpsc::Receiver<Job>) {
        let (jobs, receiver) = mpsc::channel(MOST);
        (Self { jobs, bytes: Arc::default() }, receiver)
    }

    /// Adds an entry; `false` if too much waits already.
    pub(super) fn store(&self, key: Key, entry: Arc<Entry>, ticket: Option<Ticket>) -> bool {
        let Some(room) = Room::take(&self.bytes, u64::from(entry.bytes())) else { return false };
        self.add(Job::Store { key, entry, ticket, _room: room })
    }

    pub(super) fn add(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// Gives a lease back, and says why. What finds no room is left to the lease's end.
    pub(super) fn release(&self, ticket: Ticket, message: &'static str) {
        self.add(Job::Release { ticket, message });
    }

    /// Removes a value, after all that was added before.
    pub(super) async fn remove(&self, spot: Spot) -> Result<(), StoreError> {
        let (done, waiting) = oneshot::channel();
        let gone = || StoreError::new("redis", "the runtime that the cache was opened on has ended");
        self.jobs.send(Job::Remove(spot, done)).await.map_err(|_| gone())?;
        waiting.await.map_err(|_| gone())?
    }

    /// Waits until all that was added before is done.
    pub(super) async fn drained(&self) {
        let (done, waiting) = oneshot::channel();
        // Whoever took the other end away has done all he will do.
        if self.jobs.send(Job::Done(done)).await.is_ok() {
            let _ = waiting.await;
        }
    }
}

impl Room {
    fn take(taken: &Arc<AtomicU64>, bytes: u64) -> Option<Self> {
        // One alone always may.
        let more = |now: u64| (now == 0 || now + bytes <= MOST_BYTES).then_some(now + bytes);
        taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Self { bytes, taken: Arc::clone(taken) })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_large_job_may_wait_alone_and_others_share_the_room() {
        let taken = Arc::default();
        let large = Room::take(&taken, 2 * MOST_BYTES);
        assert!(large.is_some() && Room::take(&taken, 1).is_none());
        drop(large);
        let half = Room::take(&taken, MOST_BYTES / 2);
        assert!(half.is_some() && Room::take(&taken, MOST_BYTES / 2).is_some());
        assert!(Room::take(&taken, MOST_BYTES / 2 + 1).is_none());
    }
}
