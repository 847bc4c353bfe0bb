//! State that the store, its tasks and its leases share.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use llm_core::{Clock, Priority};
use llm_redis::{Command, Error, ErrorKind, HashTag, Key as RedisKey, Redis, Value};
use smallvec::smallvec;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    invalidations::{Invalidations, Update},
    leases::Leases,
    scripts::SYNC,
    ticket::Ticket,
    value,
};
use crate::{
    Key, StoreError, Tag,
    key::{BorrowedKey, CallKeys},
    list::List,
    policy::Timestamp,
    store::{AtRest, Entry, Expiry, Listed, LocalTier, Name, Provenance, Record, Store, StoreStats, at_rest::nanos},
};

pub(super) struct Shared {
    /// Connection to Redis, which may be shared with other caches and layers.
    pub(super) redis: Redis,
    /// Codec of stored entries.
    pub(super) codec: AtRest,
    /// Clock by which entries expire.
    pub(super) clock: Arc<dyn Clock>,
    /// Local tier in front of Redis.
    pub(super) local: LocalTier,
    /// Time after its expiry for which an entry can still be served as stale.
    pub(super) grace: Duration,
    /// Time after which the server drops a lease that is not renewed.
    pub(super) lease: Duration,
    /// Timeout of a claim.
    pub(super) claim: Duration,
    /// Timeout of each command of an operation that the application starts itself, such as clearing the cache.
    pub(super) operation_timeout: Duration,
    /// Longest time until an invalidation has effect in every process.
    pub(super) bound: Duration,
    /// Copy of the server's invalidations.
    pub(super) invalidations: Invalidations,
    /// Counters of failures and leases.
    pub(super) counts: Counts,
    /// True if an entry was looked up since the last request for invalidations.
    pub(super) used: AtomicBool,
    /// Leases of this process.
    pub(super) leases: Arc<Leases>,
    /// Permits for the jobs that may be sent at the same time.
    pub(super) sending: Semaphore,
    /// Number of writes dropped until the writing task ended. Unset while the task runs.
    pub(super) ended: OnceLock<u64>,
    /// Entries that are waiting to be written. Lookups find them here until they are written.
    queued: Mutex<HashMap<Key, Arc<Entry>>>,
}

#[derive(Default)]
pub(super) struct Counts {
    /// Number of values that could not be decoded.
    pub(super) corrupt: AtomicU64,
    /// Number of entries that were not written.
    pub(super) dropped_writes: AtomicU64,
    /// Number of failed requests to Redis.
    pub(super) failed: AtomicU64,
    /// Number of leases that this process was granted.
    pub(super) granted: AtomicU64,
    /// Number of calls that waited for a call of another process.
    pub(super) awaited: AtomicU64,
    /// Number of leases that ended before their calls.
    pub(super) expired: AtomicU64,
}

/// Settings of a Redis store.
pub(crate) struct RedisSettings {
    pub(crate) redis: Redis,
    pub(crate) codec: AtRest,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) local: LocalTier,
    /// Time after its expiry for which an entry can still be served as stale.
    pub(crate) grace: Duration,
    /// Time after which the server drops a lease that is not renewed.
    pub(crate) lease: Duration,
    /// Timeout of a claim.
    pub(crate) claim: Duration,
    /// Timeout of each command of an operation that the application starts itself, such as clearing the cache.
    pub(crate) operation_timeout: Duration,
    /// Longest time until an invalidation has effect in every process.
    pub(crate) bound: Duration,
}

/// Time for which the server keeps an entry after it can no longer be served, because clocks may differ.
const SLACK: Duration = Duration::from_secs(60);
/// Largest assumed difference between the clocks of two machines.
const SKEW: Duration = Duration::from_secs(60);
/// Largest number of entries that are scanned or fetched together.
pub(super) const PAGE: usize = 256;
/// Largest number of jobs that are sent at the same time.
const TOGETHER: usize = 64;

impl Shared {
    pub(super) fn new(settings: RedisSettings) -> Self {
        let RedisSettings { redis, codec, clock, local, grace, lease, claim, operation_timeout, bound } = settings;
        let invalidations = Invalidations::new(bound, Instant::now());
        let (counts, used, queued, ended) = Default::default();
        let (leases, sending) = (Arc::new(Leases::new(lease)), Semaphore::new(TOGETHER));
        Self {
            redis,
            codec,
            clock,
            local,
            grace,
            lease,
            claim,
            operation_timeout,
            bound,
            invalidations,
            counts,
            used,
            leases,
            sending,
            ended,
            queued,
        }
    }

    /// Returns the hash tag of all keys of a request.
    pub(super) fn hash_tag(&self, name: &Name) -> HashTag {
        self.redis.key_space().hashed_tag(&[b"llm-cache", name.as_bytes()])
    }

    pub(super) fn redis_key(&self, name: &Name) -> RedisKey {
        self.hash_tag(name).key(ENTRY)
    }

    /// Creates the ticket of a lease on the call for a request. The lease is not claimed yet and has no token. Calls of
    /// different priority have different leases.
    pub(super) fn ticket(&self, keys: &CallKeys, priority: Priority) -> Ticket {
        let entry = self.codec.name(&keys.entry);
        let single_flight = if keys.single_flight == keys.entry { entry } else { self.codec.name(&keys.single_flight) };
        let hash_tag = self.hash_tag(&entry);
        let class: &[u8] = if priority == Priority::Background { b"background" } else { b"interactive" };
        Ticket {
            entry: hash_tag.key(ENTRY),
            lease: hash_tag.hashed_key("lease", &[single_flight.as_bytes(), class]),
            channel: hash_tag.key("wake"),
            token: Bytes::new(),
        }
    }

    /// Creates the token of a claim that is sent now.
    pub(super) fn token(&self) -> Bytes {
        let micros = nanos(self.invalidations.time(Instant::now())) / 1_000;
        format!("{micros}-{:016x}{:016x}", value::random(), value::random()).into()
    }

    /// Returns the time of the last invalidation of any of `tags`, in microseconds since 1970.
    pub(super) fn last_invalidation(&self, tags: &[Tag]) -> u64 {
        self.invalidations.last(tags.iter().map(|tag| self.codec.tag(tag)))
    }

    /// Requests new invalidations from the server, with a timeout of `bound`, or that of a lookup if `bound` is `None`.
    /// Counts a failure. If the server cannot be reached, entries in memory may be served for a short time.
    pub(super) async fn sync(&self, bound: Option<Duration>) -> Result<(), Error> {
        self.used.store(false, Ordering::Relaxed);
        let (asked, (epoch, since)) = (Instant::now(), self.invalidations.known());
        let candidate = self.new_epoch();
        let call = SYNC.with_keys(&[&self.epochs_key()]).arg(epoch).arg(since).arg(candidate);
        let reply = match bound {
            Some(bound) => self.redis.run_with_timeout(bound, call).await,
            None => self.redis.run(call).await,
        };
        let reply = reply.and_then(update);
        let now = Instant::now();
        match &reply {
            Ok(update) => self.invalidations.learn(update, asked, now),
            Err(error) => {
                // A server that is only slow may still send other processes invalidations that this process does not
                // receive.
                if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Closed) || !error.is_outage() {
                    self.invalidations.excuse(now);
                }
                self.fail(error);
            }
        }
        reply.map(drop)
    }

    pub(super) fn epochs_key(&self) -> RedisKey {
        self.redis.key_space().tag("llm-cache-generations").key("dropped")
    }

    pub(super) fn invalidation_channel(&self) -> RedisKey {
        self.redis.key_space().tag("llm-cache-generations").key("wake")
    }

    /// Returns a number for a new epoch. It is smaller than every timestamp.
    pub(super) fn new_epoch(&self) -> i64 {
        -1 - i64::try_from(value::random() >> 24).expect("40 bits")
    }

    /// Returns the values of these keys, in one round trip.
    pub(super) async fn get(&self, redis_keys: &[RedisKey]) -> List<Result<Value, Error>> {
        let replies: List<_> = match redis_keys {
            [redis_key] => smallvec![self.redis.run(Command::get(redis_key)).await],
            redis_keys => self.redis.run_pipeline(redis_keys.iter().map(Command::get).collect()).await.into(),
        };
        if let Some(error) = replies.iter().find_map(|reply| reply.as_ref().err()) {
            self.fail(error);
        }
        replies
    }

    /// Returns the entry in a value that was found under `name`, unless the entry has been invalidated.
    pub(super) fn entry(&self, key: &Key, name: &Name, found: &Bytes) -> Option<Arc<Entry>> {
        let mut record = self.record(found).filter(|(known, _)| known == name)?.1;
        if !self.allows(&record.provenance) {
            return None;
        }
        // The clock of the machine that stored the entry may be ahead of this one, so that the entry seems to be stored
        // in the future.
        let now = self.clock.now();
        if record.expiry.stored_at.duration_since(now).is_ok_and(|ahead| ahead <= SKEW) {
            record.expiry.stored_at = now;
        }
        Some(Arc::new(record.into_entry(key, "redis")))
    }

    /// Decodes a value. Counts it if it is corrupt.
    pub(super) fn record(&self, found: &Bytes) -> Option<(Name, Record)> {
        let read = value::read(found).and_then(|(name, sealed)| Some((name, self.codec.read(&name, sealed).ok()?)));
        if read.is_none() {
            self.counts.corrupt.fetch_add(1, Ordering::Relaxed);
        }
        read
    }

    pub(super) fn listed(&self, found: &Bytes) -> Option<Listed> {
        let (name, record) = self.record(found)?;
        let live =
            self.allows(&record.provenance) && self.ends(&record.expiry).is_none_or(|end| end > self.clock.now());
        Some(Listed { name, bytes: found.len() as u64, live, record })
    }

    pub(super) fn allows(&self, provenance: &Provenance) -> bool {
        self.invalidations.allow(provenance.tags.iter().map(|tag| self.codec.tag(tag)), provenance.started_at)
    }

    /// Returns the time after which an entry can no longer be served, not even as stale; `None` if it does not expire.
    fn ends(&self, expiry: &Expiry) -> Option<SystemTime> {
        expiry.fresh_until?.checked_add(self.grace)
    }

    /// Returns the time for which the server keeps an entry, in milliseconds; 0 for an entry that does not expire.
    pub(super) fn ttl_millis(&self, expiry: &Expiry) -> u64 {
        let Some(end) = self.ends(expiry) else { return 0 };
        let left = end.duration_since(self.clock.now()).unwrap_or_default().saturating_add(SLACK);
        u64::try_from(left.as_millis()).unwrap_or_default()
    }

    /// Encodes a record as a value; `None` if the record cannot be encoded.
    pub(super) fn value(&self, record: &Record) -> Option<(Name, Vec<u8>)> {
        let (name, sealed) = self.codec.write(record)?;
        Some((name, value::write(&name, nanos(record.expiry.stored_at), &sealed)))
    }

    pub(super) fn fail(&self, error: &Error) {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%error, "the cache's redis failed");
    }

    pub(super) fn stats(&self) -> StoreStats {
        let Counts { corrupt, dropped_writes, failed, granted, awaited, expired } = &self.counts;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        StoreStats {
            corrupt: load(corrupt),
            dropped_writes: self.dropped_writes_at_end().map_or(0, |_| self.queued().len() as u64)
                + load(dropped_writes),
            failed: load(failed),
            leases: [load(granted), load(awaited), load(expired)],
            ..self.local.memory.stats()
        }
    }

    /// Returns the number of entries that were not written because the runtime of the writing task has ended; `None`
    /// while the task runs.
    pub(super) fn dropped_writes_at_end(&self) -> Option<u64> {
        let before = self.ended.get()?;
        Some(self.queued().len() as u64 + self.counts.dropped_writes.load(Ordering::Relaxed) - before)
    }

    /// Adds an entry to those that are waiting to be written. It replaces an earlier entry of the key.
    pub(super) fn enqueue(&self, key: Key, entry: Arc<Entry>) {
        let replaced = self.queued().insert(key, entry);
        drop(replaced);
    }

    /// Returns the entry that is waiting to be written under a key.
    pub(super) fn queued_entry(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>> {
        if self.queued().is_empty() {
            return None;
        }
        let key = key.to_key();
        self.queued().get(&key).cloned()
    }

    /// Returns `true` if an entry still must be written, because it was neither replaced nor removed.
    pub(super) fn is_queued(&self, key: &Key, entry: &Arc<Entry>) -> bool {
        self.queued().get(key).is_some_and(|known| Arc::ptr_eq(known, entry))
    }

    /// Removes an entry from those waiting to be written; for `None`, any entry of the key.
    pub(super) fn dequeue(&self, key: &Key, entry: Option<&Arc<Entry>>) {
        self.dequeue_if(key, |known| entry.is_none_or(|entry| Arc::ptr_eq(known, entry)));
    }

    /// Removes the entry that is waiting to be written, unless its call began after `judged`.
    pub(super) fn evict_unless_newer(&self, key: &Key, judged: Timestamp) {
        self.dequeue_if(key, |known| known.provenance.started_at <= judged);
    }

    fn dequeue_if(&self, key: &Key, is_it: impl FnOnce(&Arc<Entry>) -> bool) {
        let mut queued = self.queued();
        let removed = if queued.get(key).is_some_and(is_it) { queued.remove(key) } else { None };
        drop(queued);
        drop(removed);
    }

    fn queued(&self) -> MutexGuard<'_, HashMap<Key, Arc<Entry>>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Part of a Redis key's name that marks the key of an entry.
pub(super) const ENTRY: &str = "entry";

pub(super) fn failed(error: &Error) -> StoreError {
    StoreError::new("redis", error.to_string())
}

fn update(reply: Value) -> Result<Update, Error> {
    let mut reply = reply.into_list()?.into_iter();
    let mut next = || reply.next().unwrap_or(Value::Nil);
    let micros = |value: Value| value.into_int().map(|micros| u64::try_from(micros).unwrap_or_default());
    let (epoch, floor, at) = (next().into_int()?, micros(next())?, micros(next())?);
    let (mut tags, mut pairs) = (Vec::new(), next().into_list()?.into_iter());
    while let (Some(tag), Some(invalidations)) = (pairs.next(), pairs.next()) {
        // The reply also contains the member `floor`, which is not a tag.
        if let Some(tag) = tag.into_bytes()?.and_then(|tag| tag.as_ref().try_into().ok()) {
            tags.push((tag, micros(invalidations)?));
        }
    }
    Ok(Update { epoch, floor, at, tags })
}
