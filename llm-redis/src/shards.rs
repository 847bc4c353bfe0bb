//! Breakers of one client, which has one breaker for a single server and several for a Cluster.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::{
    Error,
    breaker::{Breaker, BreakerConfig},
};

/// Number of breakers for a Cluster. Each breaker covers an equal range of slots, so that an unavailable node does not
/// block calls to other nodes.
const CLUSTER_SHARDS: u16 = 16;
/// Number of slots that each breaker of a Cluster covers.
const SLOTS_PER_SHARD: u16 = 16_384 / CLUSTER_SHARDS;

/// Breakers of a client by shard. A shard is a range of slots.
pub(crate) struct BreakerShards(Box<[Mutex<Breaker>]>);

impl BreakerShards {
    pub(crate) fn new(is_cluster: bool, config: BreakerConfig) -> Self {
        let count = if is_cluster { CLUSTER_SHARDS } else { 1 };
        Self((0..count).map(|_| Mutex::new(Breaker::new(config))).collect())
    }

    /// Returns the shard of a slot, or the first shard for a request without a slot.
    pub(crate) fn of_slot(&self, slot: Option<u16>) -> usize {
        slot.map_or(0, |slot| usize::from(slot / SLOTS_PER_SHARD) % self.0.len())
    }

    /// Returns the first slot of a shard.
    pub(crate) fn first_slot(shard: usize) -> u16 {
        u16::try_from(shard).expect("there are few shards") * SLOTS_PER_SHARD
    }

    /// Locks the breaker of a shard.
    pub(crate) fn lock(&self, shard: usize) -> MutexGuard<'_, Breaker> {
        self.0[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the numbers of all shards.
    pub(crate) fn all(&self) -> std::ops::Range<usize> {
        0..self.0.len()
    }

    /// Returns the number of open breakers.
    pub(crate) fn open(&self) -> usize {
        self.all().filter(|shard| self.lock(*shard).cause().is_some()).count()
    }

    /// Returns the error that opened the first open breaker; `None` if all are closed.
    pub(crate) fn cause(&self) -> Option<Error> {
        self.all().find_map(|shard| self.lock(shard).cause().cloned())
    }

    /// Opens all breakers. Returns the number of breakers that were closed before.
    pub(crate) fn trip_all(&self, cause: &Error) -> usize {
        let now = Instant::now();
        self.all().filter(|shard| self.lock(*shard).trip(now, cause)).count()
    }

    /// Closes the breakers of `shards`. Returns the number of breakers that were open before.
    pub(crate) fn close(&self, shards: impl Iterator<Item = usize>) -> usize {
        shards.filter(|shard| self.lock(*shard).close()).count()
    }

    /// Records the start of all probes that are due. Returns `true` if at least one probe is due.
    pub(crate) fn take_probes(&self, now: Instant) -> bool {
        self.all().filter(|shard| self.lock(*shard).take_probe(now)).count() > 0
    }
}
