//! The interface of all stores: memory, a file, Redis, and memory in front of a file.
//!
//! A method that needs no waiting returns at once. The rest returns a [`StoreFuture`], whose error is the store's own failure; callers
//! on the path count it and go on without the store.

use std::{future::Future, pin::Pin, sync::Arc, time::SystemTime};

#[cfg(feature = "at-rest")]
use super::{Cursor, Name, Page, Record};
use super::{
    StoreError,
    entry::Entry,
    lease::{Claim, Claimant, IsUsable, Lease},
};
use crate::{Key, Tag, key::BorrowedKey, policy::Timestamp};

/// Store of entries. It knows their keys, sizes and times. The cache decides which of them it serves.
///
/// A store that fails has no entries; the error is counted.
pub(crate) trait Store: Send + Sync + 'static {
    /// Returns the entry in the local tier, without waiting.
    fn peek(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>>;

    /// True if there is a remote tier.
    fn has_remote_tier(&self) -> bool {
        false
    }

    /// Returns the size of the largest entry that it can hold, in bytes, if that is known before an entry is written.
    fn max_entry_bytes(&self) -> u64 {
        u64::MAX
    }

    /// Fetches entries from the remote tier, in the order of the keys.
    fn fetch<'a>(&'a self, keys: &'a [Key]) -> StoreFuture<'a, Vec<Option<Arc<Entry>>>> {
        ready(vec![None; keys.len()])
    }

    /// Returns the number of removals so far. An entry fetched before the last of them may have been removed since.
    fn removals(&self) -> u64 {
        0
    }

    /// Fills the local tier with an entry that was fetched, when there were this many removals, and was served.
    fn fill(&self, _key: BorrowedKey<'_>, _entry: &Entry, _removals: u64) {}

    /// Stores an entry, unless there is one in the local tier whose call began later. Returns whether it did. The entry
    /// is in the local tier when this returns, and soon in the remote one.
    fn put(&self, key: Key, entry: Arc<Entry>) -> bool;

    /// Removes an entry that is of no use any more, unless one whose call began later has taken its place: at once from
    /// the local tier, soon from the remote one.
    fn evict_unless_newer(&self, key: BorrowedKey<'_>, entry: &Entry);

    /// Removes an entry from both tiers.
    fn remove<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, ()>;

    /// Remembers over restarts that a tag (or, for `None`, everything) was invalidated.
    fn invalidate(&self, _tag: Option<&Tag>, _at: Timestamp) -> StoreFuture<'_, ()> {
        ready(())
    }

    /// Returns the last timestamp that the store remembers. No later one may be before it.
    fn latest(&self) -> Timestamp {
        Timestamp::default()
    }

    /// Returns the store's own time for timestamps, if it has one.
    fn time(&self) -> Option<SystemTime> {
        None
    }

    /// True if an entry with these tags, of a call that began at this timestamp, has not been invalidated elsewhere, as
    /// far as the store knows.
    fn allows(&self, _tags: &[Tag], _started_at: Timestamp) -> bool {
        true
    }

    /// True if calls are sent under leases, so that the processes that share the store send each request once.
    fn leases(&self) -> bool {
        false
    }

    /// Looks an entry up once more, and claims the lease on the call for it.
    fn claim<'a>(&'a self, _claimant: Claimant<'a>, _is_usable: &'a IsUsable<'a>) -> StoreFuture<'a, Claim> {
        ready(Claim::Lead(Lease::free()))
    }

    /// Removes all entries of a tenant, and the shared ones that the tenant paid for. It may visit every entry.
    fn forget<'a>(&'a self, tenant: &'a str) -> StoreFuture<'a, ()>;

    /// Removes all entries.
    fn clear(&self) -> StoreFuture<'_, ()>;

    /// Returns its size and its failures.
    fn stats(&self) -> StoreStats;

    /// Returns the number of evicted entries.
    fn evictions(&self) -> u64 {
        0
    }

    /// Waits until all entries that were put are written.
    fn close(&self) -> StoreFuture<'_, ()> {
        ready(())
    }

    /// Lists at most `most` entries after a cursor.
    #[cfg(feature = "at-rest")]
    fn scan(&self, _after: Option<Cursor>, _most: usize) -> StoreFuture<'_, Page> {
        unlisted()
    }

    /// Writes records that are still valid, and newer than stored ones. Returns how many.
    #[cfg(feature = "at-rest")]
    fn write_records(&self, _records: Vec<Record>) -> StoreFuture<'_, u64> {
        unlisted()
    }

    /// Removes entries by their names. Returns how many there were.
    #[cfg(feature = "at-rest")]
    fn remove_named(&self, _names: Vec<Name>) -> StoreFuture<'_, u64> {
        unlisted()
    }
}

/// Size of a store, and its failures so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StoreStats {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// Stored entries that could not be read.
    pub(crate) corrupt: u64,
    /// Entries that were put and not written.
    pub(crate) dropped_writes: u64,
    /// Failures that no caller waited for.
    pub(crate) failed: u64,
    /// Leases that were granted to this process, that it waited for, and that it lost before its call ended.
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
