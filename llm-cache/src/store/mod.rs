//! Where entries lie: in memory, or further away.

#[cfg(feature = "at-rest")]
mod at_rest;
mod entry;
#[cfg(feature = "file")]
mod file;
mod lease;
#[cfg(feature = "at-rest")]
mod listing;
#[cfg(any(feature = "file", feature = "redis"))]
mod local_tier;
mod memory;
mod memory_size;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "file")]
mod tiered;

use std::{future::Future, pin::Pin, sync::Arc, time::SystemTime};

#[cfg(feature = "fuzzing")]
pub(crate) use self::at_rest::{fuzz_body, fuzz_frame};
#[cfg(any(feature = "file", feature = "redis"))]
pub(crate) use self::local_tier::LocalTier;
#[cfg(all(feature = "redis", feature = "fuzzing"))]
pub(crate) use self::redis::read_value;
#[cfg(feature = "redis")]
pub(crate) use self::redis::{RedisSettings, RedisStore};
#[cfg(feature = "at-rest")]
pub(crate) use self::{
    at_rest::{AtRest, Name, PARTITION_BYTES, Record},
    listing::{Listed, Page},
};
#[cfg(feature = "at-rest")]
pub use self::{
    at_rest::{EncryptionKeys, KeyRing, Secret},
    listing::Cursor,
};
pub(crate) use self::{
    entry::{Entry, Expiry, Provenance},
    lease::{Claim, Claimant, Lease, MaxWait, Outcome},
    memory::Memory,
};
#[cfg(feature = "file")]
pub(crate) use self::{
    file::{FileSettings, FileStore},
    tiered::Tiered,
};
use crate::{Key, Tag, invalidation::Timestamp, key::BorrowedKey};

/// A place for entries. It knows their keys, sizes and times, not what they are worth: that is the cache's to judge.
///
/// A store that fails is a store that has nothing: the error is for the books.
pub(crate) trait Store: Send + Sync + 'static {
    /// What is at hand, without waiting.
    fn peek(&self, key: BorrowedKey<'_>) -> Option<Arc<Entry>>;

    /// True if there may be more than what is at hand.
    fn has_remote_tier(&self) -> bool {
        false
    }

    /// Size of the largest entry that it can hold, in bytes, where that is known before an entry is written.
    fn max_entry_bytes(&self) -> u64 {
        u64::MAX
    }

    /// What lies further away, in the order of the keys.
    fn fetch<'a>(&'a self, keys: &'a [Key]) -> StoreFuture<'a, Vec<Option<Arc<Entry>>>> {
        ready(vec![None; keys.len()])
    }

    /// How many removals there were so far. What was fetched before the last of them may have been removed since.
    fn removals(&self) -> u64 {
        0
    }

    /// Puts an entry that was fetched, and was of use, where it is at hand. It was fetched when there were so many removals.
    fn fill(&self, _key: BorrowedKey<'_>, _entry: &Entry, _removals: u64) {}

    /// Stores an entry, unless one whose call began later is at hand; tells whether it did. It is at hand when this returns, and further away soon.
    fn put(&self, key: Key, entry: Arc<Entry>) -> bool;

    /// Removes an entry that turned out to be of no use, unless one whose call began later has taken its place: at once
    /// where it is at hand, soon where it is not.
    fn evict_unless_newer(&self, key: BorrowedKey<'_>, entry: &Entry);

    /// Removes an entry everywhere.
    fn remove<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, ()>;

    /// Remembers for those who open the store later that a tag (or, for none, everything) was invalidated.
    fn invalidate(&self, _tag: Option<&Tag>, _at: Timestamp) -> StoreFuture<'_, ()> {
        ready(())
    }

    /// The last moment that is remembered here: none told from now on may be before it.
    fn latest(&self) -> Timestamp {
        Timestamp::default()
    }

    /// The time that moments are told by, where it is not this machine's.
    fn time(&self) -> Option<SystemTime> {
        None
    }

    /// True if what has these tags and began at a moment has not been invalidated elsewhere, as far as that is known here.
    fn allows(&self, _tags: &[Tag], _begun: Timestamp) -> bool {
        true
    }

    /// True if calls are made by leases, so that each question is asked once among all who share the store.
    fn leases(&self) -> bool {
        false
    }

    /// Looks once more for what a call is about to be made for, and asks for the lease on making it.
    fn claim<'a>(&'a self, _claimant: Claimant<'a>) -> StoreFuture<'a, Claim> {
        ready(Claim::Lead(Lease::free()))
    }

    /// Removes all entries of a tenant, and those that he bought for a scope. It may look at every entry.
    fn forget<'a>(&'a self, tenant: &'a str) -> StoreFuture<'a, ()>;

    /// Removes everything.
    fn clear(&self) -> StoreFuture<'_, ()>;

    /// What it holds, and what went wrong.
    fn stats(&self) -> StoreStats;

    /// Entries that had to make room so far.
    fn evictions(&self) -> u64 {
        0
    }

    /// Waits until all that was put is where it shall be.
    fn close(&self) -> StoreFuture<'_, ()> {
        ready(())
    }

    /// The entries after a place, at most so many.
    #[cfg(feature = "at-rest")]
    fn scan(&self, _after: Option<Cursor>, _most: usize) -> StoreFuture<'_, Page> {
        unlisted()
    }

    /// Writes records that are still good, and newer than what lies there. Tells how many.
    #[cfg(feature = "at-rest")]
    fn write_records(&self, _records: Vec<Record>) -> StoreFuture<'_, u64> {
        unlisted()
    }

    /// Removes entries by their names; tells how many there were.
    #[cfg(feature = "at-rest")]
    fn remove_named(&self, _names: Vec<Name>) -> StoreFuture<'_, u64> {
        unlisted()
    }
}

/// What a store holds now, and what went wrong in it so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StoreStats {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// Stored entries that could not be read.
    pub(crate) corrupt: u64,
    /// Entries that were put and not written.
    pub(crate) dropped_writes: u64,
    /// What it could not do behind its callers.
    pub(crate) failed: u64,
    /// Leases that this process was granted, waited for, and lost before its call was over.
    pub(crate) leases: [u64; 3],
}

/// What comes of a place further away.
pub(crate) type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

fn ready<'a, T: Send + 'a>(value: T) -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(Ok(value)))
}

#[cfg(feature = "at-rest")]
fn unlisted<'a, T: Send + 'a>() -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(Err(StoreError::new("memory", "what only lies in memory is not listed or copied"))))
}

/// Which entries go first when the memory is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// The least recently used. What was just stored stays, which regenerated and slowly changing work needs.
    #[default]
    Lru,
    /// The least frequently used of late (W-TinyLFU). It withstands scans, and keeps new keys out of a warm full cache
    /// until they have been asked for several times.
    TinyLfu,
}

/// Why a store could not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cache's {tier} store: {reason}")]
pub struct StoreError {
    tier: &'static str,
    reason: Arc<str>,
}

#[cfg(feature = "at-rest")]
impl StoreError {
    pub(crate) fn new(tier: &'static str, reason: impl Into<Arc<str>>) -> Self {
        Self { tier, reason: reason.into() }
    }
}
