//! Interface of all stores: memory, a file, Redis, and memory in front of a file.
//!
//! Methods that wait return a [`StoreFuture`], whose error is a failure of the store. The path of a call counts such a
//! failure and continues without the store.

use std::{future::Future, pin::Pin, sync::Arc, time::SystemTime};

#[cfg(feature = "at-rest")]
use super::{Cursor, Name, Page, Record};
use super::{
    StoreError,
    entry::Entry,
    lease::{Claim, Claimant, IsUsable, Lease},
};
use crate::{Key, Tag, key::BorrowedKey, policy::Timestamp};

/// Store of entries, which knows their keys, sizes and times. The cache decides which entries are served.
///
/// A lookup in a store that fails finds nothing, and the failure is counted.
pub(crate) trait Store: Send + Sync + 'static {
    /// Returns the entry in the local tier, without waiting.
    fn peek(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>>;

    /// Returns `true` if there is a remote tier.
    fn has_remote_tier(&self) -> bool {
        false
    }

    /// Returns the size of the largest entry that the store can hold, in bytes; `u64::MAX` if it is known only when an
    /// entry is written.
    fn max_entry_bytes(&self) -> u64 {
        u64::MAX
    }

    /// Fetches entries from the remote tier. The results are in the order of the keys.
    fn fetch<'a>(&'a self, keys: &'a [Key]) -> StoreFuture<'a, Vec<Option<Arc<Entry>>>> {
        ready(vec![None; keys.len()])
    }

    /// Returns the number of removals so far. An entry that was fetched before the latest of them may have been removed
    /// since.
    fn removals(&self) -> u64 {
        0
    }

    /// Adds a fetched entry that is being served to the local tier. `removals` is the number of removals before the
    /// fetch.
    fn fill(&self, _key: BorrowedKey<'_>, _entry: &Entry, _removals: u64) {}

    /// Stores an entry, unless the local tier has one whose call began later. Returns `true` if it stores the entry,
    /// which is then in the local tier at once, and soon in the remote one.
    fn put(&self, key: Key, entry: Arc<Entry>) -> bool;

    /// Removes an entry that no call can use, from the local tier at once and from the remote one soon, unless an entry
    /// whose call began later has replaced it.
    fn evict_unless_newer(&self, key: BorrowedKey<'_>, entry: &Entry);

    /// Removes an entry from both tiers.
    fn remove<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, ()>;

    /// Remembers across restarts that a tag was invalidated, or that all entries were if `tag` is `None`.
    fn invalidate(&self, _tag: Option<&Tag>, _at: Timestamp) -> StoreFuture<'_, ()> {
        ready(())
    }

    /// Returns the latest timestamp that the store remembers. Every timestamp that is issued from now on must be later.
    fn latest(&self) -> Timestamp {
        Timestamp::default()
    }

    /// Returns the current time of the store's own clock for timestamps; `None` if the cache's clock is used.
    fn time(&self) -> Option<SystemTime> {
        None
    }

    /// Returns `true` if an entry with these tags, whose call began at this timestamp, has not been invalidated by
    /// another process, as far as the store knows.
    fn allows(&self, _tags: &[Tag], _started_at: Timestamp) -> bool {
        true
    }

    /// Returns `true` if calls are sent under leases, so that the processes that share the store send each request
    /// once.
    fn leases(&self) -> bool {
        false
    }

    /// Looks up an entry once more. If it is not found, claims the lease on the call for it.
    fn claim<'a>(&'a self, _claimant: Claimant<'a>, _is_usable: &'a IsUsable<'a>) -> StoreFuture<'a, Claim> {
        ready(Claim::Lead(Lease::free()))
    }

    /// Removes all entries of a tenant, and the shared ones that the tenant paid for. It may visit every entry.
    fn forget<'a>(&'a self, tenant: &'a str) -> StoreFuture<'a, ()>;

    /// Removes all entries.
    fn clear(&self) -> StoreFuture<'_, ()>;

    /// Returns the size of the store and the numbers of its failures so far.
    fn stats(&self) -> StoreStats;

    /// Returns the number of entries that the store has evicted so far.
    fn evictions(&self) -> u64 {
        0
    }

    /// Waits until all stored entries are written.
    fn close(&self) -> StoreFuture<'_, ()> {
        ready(())
    }

    /// Lists at most `most` entries after a cursor.
    #[cfg(feature = "at-rest")]
    fn scan(&self, _after: Option<Cursor>, _most: usize) -> StoreFuture<'_, Page> {
        unlisted()
    }

    /// Writes records that are still valid, unless the store has equally new or newer entries of the same names.
    /// Returns the number of written records.
    #[cfg(feature = "at-rest")]
    fn write_records(&self, _records: Vec<Record>) -> StoreFuture<'_, u64> {
        unlisted()
    }

    /// Removes entries by their names. Returns the number of removed entries.
    #[cfg(feature = "at-rest")]
    fn remove_named(&self, _names: Vec<Name>) -> StoreFuture<'_, u64> {
        unlisted()
    }
}

/// Size of a store, and numbers of its failures so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StoreStats {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// Number of stored entries that could not be read.
    pub(crate) corrupt: u64,
    /// Number of entries that were stored and could not be written.
    pub(crate) dropped_writes: u64,
    /// Number of failures that the store counted itself, because it returned them to no caller.
    pub(crate) failed: u64,
    /// Numbers of leases that this process was granted, waited for, and lost before their calls ended.
    pub(crate) leases: [u64; 3],
}

/// Future of an operation on a remote tier.
pub(crate) type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

pub(super) fn ready<'a, T: Send + 'a>(value: T) -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(Ok(value)))
}

#[cfg(feature = "at-rest")]
fn unlisted<'a, T: Send + 'a>() -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(Err(StoreError::new("memory", "what only lies in memory is not listed or copied"))))
}
