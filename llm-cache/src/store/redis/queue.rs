//! Queue of the writing task: a bounded number of jobs of a bounded size.
//!
//! A job holds a permit for its bytes until it is done. Without a permit, an entry is dropped and counted, and a lease
//! is left to expire, so that no caller waits for Redis here.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use llm_redis::Key as RedisKey;
use tokio::sync::{mpsc, oneshot};

use super::{leases::Leases, ticket::Ticket};
use crate::{Key, StoreError, store::Entry};

/// Sender of jobs. Adding a job never waits.
pub(super) struct Queue {
    jobs: mpsc::Sender<Job>,
    bytes: Arc<AtomicU64>,
    leases: Arc<Leases>,
}

/// Job of the writing task.
pub(super) enum Job {
    /// Writes an entry, and ends the leases on calls for it.
    Store { key: Key, entry: Arc<Entry>, tickets: Vec<Ticket>, _room: Room },
    /// Renews a lease.
    Renew(Key, Ticket),
    /// Releases a lease with a message to its waiters.
    Release { ticket: Ticket, message: &'static str },
    /// Removes a value after all earlier jobs are done, and sends the result.
    Remove(RedisKey, oneshot::Sender<Result<(), StoreError>>),
    /// Sends a message once all earlier jobs are done.
    Done(oneshot::Sender<()>),
}

/// Permit for the bytes of a job.
pub(super) struct Room {
    bytes: u64,
    taken: Arc<AtomicU64>,
}

/// Largest number of waiting jobs.
pub(super) const MOST: usize = 8_192;
/// Largest total size of waiting jobs, in bytes.
const MOST_BYTES: u64 = 16 << 20;

impl Queue {
    pub(super) fn new(leases: Arc<Leases>) -> (Self, mpsc::Receiver<Job>) {
        let (jobs, receiver) = mpsc::channel(MOST);
        (Self { jobs, bytes: Arc::default(), leases }, receiver)
    }

    /// Adds an entry. Returns `false` if too many jobs or bytes are waiting.
    pub(super) fn store(&self, key: Key, entry: Arc<Entry>, tickets: Vec<Ticket>) -> bool {
        let Some(room) = Room::take(&self.bytes, u64::from(entry.bytes())) else { return false };
        self.add(Job::Store { key, entry, tickets, _room: room })
    }

    pub(super) fn add(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// Releases a lease. If the queue is full, the lease is left to expire.
    pub(super) fn release(&self, ticket: Ticket, message: &'static str) {
        if let Err(full) = self.jobs.try_send(Job::Release { ticket, message })
            && let Job::Release { ticket, .. } = full.into_inner()
        {
            self.leases.leave(ticket);
        }
    }

    /// Removes a value after all earlier jobs are done.
    pub(super) async fn remove(&self, redis_key: RedisKey) -> Result<(), StoreError> {
        let (done, waiting) = oneshot::channel();
        self.jobs.send(Job::Remove(redis_key, done)).await.map_err(|_| ended())?;
        waiting.await.map_err(|_| ended())?
    }

    /// Waits until all earlier jobs are done.
    pub(super) async fn drained(&self) -> Result<(), StoreError> {
        let (done, waiting) = oneshot::channel();
        self.jobs.send(Job::Done(done)).await.map_err(|_| ended())?;
        waiting.await.map_err(|_| ended())
    }

    /// Waits until the writing task has ended.
    pub(super) async fn ended(&self) {
        self.jobs.closed().await;
    }
}

/// Returns the error of a job whose writing task has ended with its runtime.
fn ended() -> StoreError {
    StoreError::new("redis", "the runtime that the cache was opened on has ended")
}

impl Room {
    fn take(taken: &Arc<AtomicU64>, bytes: u64) -> Option<Self> {
        // An entry larger than the bound is accepted if no other one is waiting.
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
