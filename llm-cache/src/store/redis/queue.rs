//! What is to be done behind the callers' backs: a bounded number of jobs of a bounded size.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use llm_redis::Key as RedisKey;
use tokio::sync::{mpsc, oneshot};

use super::{leases::Leases, shared::Ticket};
use crate::{Key, StoreError, store::Entry};

/// The way to the writer. Nothing here waits.
pub(super) struct Queue {
    jobs: mpsc::Sender<Job>,
    bytes: Arc<AtomicU64>,
    leases: Arc<Leases>,
}

/// The task that does the jobs has ended, because its runtime has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended;

/// Something to do.
pub(super) enum Job {
    /// Write an entry, and end the lease that it was bought by.
    Store { key: Key, entry: Arc<Entry>, ticket: Option<Ticket>, _room: Room },
    /// Keep a lease.
    Renew(Key, Ticket),
    /// Give a lease back, and say why.
    Release { ticket: Ticket, message: &'static str },
    /// Remove a value, after all that came before, and say what became of it.
    Remove(RedisKey, oneshot::Sender<Result<(), StoreError>>),
    /// Say when all that came before is done.
    Done(oneshot::Sender<()>),
}

/// Room for the bytes of a job.
pub(super) struct Room {
    bytes: u64,
    taken: Arc<AtomicU64>,
}

/// The most jobs that wait.
pub(super) const MOST: usize = 8_192;
/// The most that waits to be written, in bytes.
const MOST_BYTES: u64 = 16 << 20;

impl Queue {
    pub(super) fn new(leases: Arc<Leases>) -> (Self, mpsc::Receiver<Job>) {
        let (jobs, receiver) = mpsc::channel(MOST);
        (Self { jobs, bytes: Arc::default(), leases }, receiver)
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
        if let Err(full) = self.jobs.try_send(Job::Release { ticket, message })
            && let Job::Release { ticket, .. } = full.into_inner()
        {
            self.leases.leave(ticket);
        }
    }

    /// Removes a value, after all that was added before.
    pub(super) async fn remove(&self, redis_key: RedisKey) -> Result<(), StoreError> {
        let (done, waiting) = oneshot::channel();
        self.jobs.send(Job::Remove(redis_key, done)).await.map_err(|_| Ended)?;
        waiting.await.map_err(|_| Ended)?
    }

    /// Waits until all that was added before is done.
    pub(super) async fn drained(&self) -> Result<(), Ended> {
        let (done, waiting) = oneshot::channel();
        self.jobs.send(Job::Done(done)).await.map_err(|_| Ended)?;
        waiting.await.map_err(|_| Ended)
    }

    /// Waits until nothing is done any more.
    pub(super) async fn ended(&self) {
        self.jobs.closed().await;
    }
}

impl From<Ended> for StoreError {
    fn from(_: Ended) -> Self {
        Self::new("redis", "the runtime that the cache was opened on has ended")
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
    fn redis_queue_admits_one_large_job_alone() {
        let taken = Arc::default();
        let large = Room::take(&taken, 2 * MOST_BYTES);
        assert!(large.is_some() && Room::take(&taken, 1).is_none());
        drop(large);
        let half = Room::take(&taken, MOST_BYTES / 2);
        assert!(half.is_some() && Room::take(&taken, MOST_BYTES / 2).is_some());
        assert!(Room::take(&taken, MOST_BYTES / 2 + 1).is_none());
    }
}
