//! Implementation of the cache's store over Redis.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use llm_redis::Value;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

use super::{
    claim::{LEFT, OVER, claim},
    queue::Queue,
    scripts::INVALIDATE,
    shared::{RedisSettings, Shared, failed},
    ticket::Ticket,
    writer::{follow, write},
};
use crate::{
    Key, StoreError, Tag,
    key::BorrowedKey,
    list::List,
    policy::Timestamp,
    store::{
        Claim, Claimant, Cursor, Entry, IsUsable, Name, Page, Record, Store, StoreFuture, StoreStats, at_rest::nanos,
    },
};

/// Store of entries in Redis, with a local tier.
pub(crate) struct RedisStore {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
}

/// Largest number of tags whose invalidations the server remembers separately.
const MOST_TAGS: usize = 10_000;
/// Longest time for which closing waits until all leases are released and all jobs are done.
const LAST_WAIT: Duration = Duration::from_secs(60);

impl RedisStore {
    /// Opens a store, and spawns its two tasks. The function does not wait for the server, so that without a server the
    /// first operation fails.
    pub(crate) fn spawn(settings: RedisSettings) -> Result<Self, StoreError> {
        let runtime = Handle::try_current()
            .map_err(|_| StoreError::new("redis", "it spawns tasks: build the cache in a tokio runtime"))?;
        let shared = Arc::new(Shared::new(settings));
        let (queue, jobs) = Queue::new(Arc::clone(&shared.leases));
        let invalidation_channel =
            shared.redis.subscribe(&shared.invalidation_channel()).map_err(|error| failed(&error))?;
        runtime.spawn(write(Arc::clone(&shared), jobs));
        runtime.spawn(follow(Arc::downgrade(&shared), invalidation_channel));
        Ok(Self { shared, queue: Arc::new(queue) })
    }

    /// Returns the entry in the local tier, or else the entry that waits to be written. Invalidations are not
    /// considered here.
    fn in_memory(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>> {
        self.shared.local.peek(key).or_else(|| self.shared.queued_entry(key))
    }

    async fn find(&self, keys: &[Key]) -> Vec<Option<Arc<Entry>>> {
        let shared = &self.shared;
        let names: List<_> = keys.iter().map(|key| shared.codec.name(key)).collect();
        let redis_keys: List<_> = names.iter().map(|name| shared.redis_key(name)).collect();
        let replies = match shared.invalidations.is_current(Instant::now()) {
            true => shared.get(&redis_keys).await,
            false => tokio::join!(shared.sync(None), shared.get(&redis_keys)).1,
        };
        let now = Instant::now();
        let (is_current, can_serve_memory) =
            (shared.invalidations.is_current(now), shared.invalidations.can_serve_memory(now));
        let find = |((key, name), reply): ((&Key, &Name), Result<Value, _>)| {
            let found: Option<Bytes> =
                reply.ok().filter(|_| is_current).and_then(|value| value.into_bytes().ok().flatten());
            let entry = found.and_then(|found| shared.entry(key, name, &found));
            entry.or_else(|| self.in_memory(key.borrowed()).filter(|_| can_serve_memory))
        };
        keys.iter().zip(&names).zip(replies).map(find).collect()
    }

    async fn invalidate(&self, tag: Option<&Tag>) -> Result<(), StoreError> {
        let shared = &self.shared;
        let digest = tag.map(|tag| shared.codec.tag(tag));
        let call = INVALIDATE.with_keys(&[&shared.epochs_key(), &shared.invalidation_channel()]);
        let call = call.arg(digest.as_ref().map_or(&[][..], |digest| digest.as_slice())).arg(MOST_TAGS);
        shared
            .redis
            .run_with_timeout(shared.operation_timeout, call.arg(shared.new_epoch()))
            .await
            .map_err(|error| failed(&error))?;
        // Calls that start after this point start after the invalidation.
        shared.sync(Some(shared.operation_timeout)).await.map_err(|error| failed(&error))
    }

    /// Waits until the currently open leases are closed, and all queued jobs are done.
    async fn close(&self) -> Result<(), StoreError> {
        Handle::try_current()
            .map_err(|_| StoreError::new("redis", "it waits with timers: close it in a tokio runtime"))?;
        let (shared, until) = (&self.shared, Instant::now() + LAST_WAIT);
        for ticket in shared.leases.take_left() {
            self.queue.release(ticket, LEFT);
        }
        let running = tokio::select! {
            biased;
            () = self.queue.ended() => 0,
            running = shared.leases.closed(until) => running,
        };
        let drained = timeout_at(until, self.queue.drained()).await;
        match (drained, shared.leases.left()) {
            (Ok(Err(_)), _) => self.report_end(),
            (Err(_), _) => Err(StoreError::new("redis", "what was stored has not been written in time")),
            (Ok(Ok(())), 0) if running == 0 => Ok(()),
            (Ok(Ok(())), left) => {
                let lease = shared.lease;
                Err(StoreError::new(
                    "redis",
                    format!(
                        "{} leases are held yet: {running} by calls that still run, and {left} that Redis did not take \
                         back; each ends by itself {lease:?} after it was renewed last",
                        running + left
                    ),
                ))
            }
        }
    }

    fn report_end(&self) -> Result<(), StoreError> {
        let dropped_writes = self.shared.dropped_writes_at_end().unwrap_or_default();
        let leases = self.shared.leases.count();
        match (dropped_writes, leases) {
            (0, 0) => Ok(()),
            _ => Err(StoreError::new(
                "redis",
                format!(
                    "the runtime that the cache was opened on has ended: {dropped_writes} answers were not written, and \
                     {leases} leases were not given back; close the cache before its runtime ends"
                ),
            )),
        }
    }
}

impl Store for RedisStore {
    fn peek(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>> {
        if !self.shared.used.load(Ordering::Relaxed) {
            self.shared.used.store(true, Ordering::Relaxed);
        }
        if self.shared.invalidations.can_serve_memory(Instant::now()) { self.in_memory(key) } else { None }
    }

    fn has_remote_tier(&self) -> bool {
        true
    }

    /// Fetches entries from Redis. A failure is counted. For a key without an entry in the reply, the entry in memory
    /// is returned, if entries in memory may be served without a request.
    fn fetch<'a>(&'a self, keys: &'a [Key]) -> StoreFuture<'a, Vec<Option<Arc<Entry>>>> {
        Box::pin(async move { Ok(self.find(keys).await) })
    }

    fn removals(&self) -> u64 {
        self.shared.local.removals()
    }

    fn fill(&self, key: BorrowedKey<'_>, entry: &Entry, removals: u64) {
        if entry.tier != "memory" {
            self.shared.local.fill(key, entry, removals);
        }
    }

    /// Puts an entry in the local tier at once, and queues it to be written to Redis.
    fn put(&self, key: Key, entry: Arc<Entry>) -> bool {
        let renewed = self.shared.local.put(key.clone(), &entry);
        let tickets = self.shared.leases.take_all(&key);
        let release = |tickets: Vec<Ticket>| tickets.into_iter().for_each(|ticket| self.queue.release(ticket, OVER));
        if !self.shared.codec.can_store(&key.partition()) {
            release(tickets);
            return renewed;
        }
        let entry = Arc::new(entry.copy("redis", None));
        self.shared.enqueue(key.clone(), Arc::clone(&entry));
        let taken = self.queue.store(key.clone(), Arc::clone(&entry), tickets.clone());
        if !taken {
            self.shared.dequeue(&key, Some(&entry));
            release(tickets);
            self.shared.counts.dropped_writes.fetch_add(1, Ordering::Relaxed);
        }
        taken || renewed
    }

    /// Removes an entry from memory only, because another process may have stored a newer one in Redis. The entry in
    /// Redis expires on its own.
    fn evict_unless_newer(&self, key: BorrowedKey<'_>, entry: &Entry) {
        self.shared.local.memory.evict_unless_newer(key, entry);
        self.shared.evict_unless_newer(&key.to_key(), entry.provenance.started_at);
    }

    fn remove<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, ()> {
        self.shared.local.remove(key);
        self.shared.dequeue(key, None);
        Box::pin(async move {
            let removed = self.queue.remove(self.shared.redis_key(&self.shared.codec.name(key))).await;
            self.shared.local.remove(key);
            removed
        })
    }

    fn invalidate(&self, tag: Option<&Tag>, _: Timestamp) -> StoreFuture<'_, ()> {
        let tag = tag.cloned();
        Box::pin(async move { self.invalidate(tag.as_ref()).await })
    }

    fn time(&self) -> Option<SystemTime> {
        Some(self.shared.invalidations.time(Instant::now()))
    }

    fn allows(&self, tags: &[Tag], started_at: Timestamp) -> bool {
        self.shared.invalidations.allow(tags.iter().map(|tag| self.shared.codec.tag(tag)), started_at)
    }

    fn leases(&self) -> bool {
        true
    }

    fn claim<'a>(&'a self, claimant: Claimant<'a>, is_usable: &'a IsUsable<'a>) -> StoreFuture<'a, Claim> {
        Box::pin(async move { Ok(claim(&self.shared, &self.queue, claimant, is_usable).await) })
    }

    fn forget<'a>(&'a self, tenant: &'a str) -> StoreFuture<'a, ()> {
        let forgotten = self.shared.local.forget(tenant);
        Box::pin(async move {
            forgotten.await?;
            self.queue.drained().await?;
            self.shared.sweep(Some(tenant)).await
        })
    }

    fn clear(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.shared.local.clear().await?;
            self.queue.drained().await?;
            self.shared.sweep(None).await
        })
    }

    /// Returns the statistics of the local tier, because the entries in Redis belong to many processes.
    fn stats(&self) -> StoreStats {
        self.shared.stats()
    }

    fn evictions(&self) -> u64 {
        self.shared.local.memory.evictions()
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.close())
    }

    fn scan(&self, after: Option<Cursor>, most: usize) -> StoreFuture<'_, Page> {
        Box::pin(async move { self.shared.page(after.as_ref(), most).await })
    }

    fn write_records(&self, records: Vec<Record>) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            self.shared.sync(Some(self.shared.operation_timeout)).await.map_err(|error| failed(&error))?;
            let started_at = Timestamp::from_nanos(nanos(self.shared.invalidations.time(Instant::now())));
            self.shared.copy(records, started_at).await
        })
    }

    fn remove_named(&self, names: Vec<Name>) -> StoreFuture<'_, u64> {
        Box::pin(async move { self.shared.remove_named(&names).await })
    }
}
