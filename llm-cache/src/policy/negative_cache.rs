//! Negative cache: remembers errors of requests for a short time.
//!
//! Errors are remembered by the keys of running calls, so that tenants do not get each other's errors even if they
//! share entries by scope.

use std::{
    error::Error as StdError,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use foldhash::quality::RandomState;
use llm_core::{Charge, Error, ErrorKind};
use moka::{policy::EvictionPolicy, sync::Cache};

use crate::{Key, store::Provenance};

/// Errors of requests that a vendor refused because of the request itself. They are kept in memory, whatever the store
/// is.
pub(crate) struct NegativeCache {
    /// Time for which an error is remembered.
    ttl: Duration,
    /// Errors by the keys of their calls.
    known: Cache<Key, Arc<NegativeEntry>, RandomState>,
}

struct NegativeEntry {
    /// Error as the vendor reported it.
    error: Error,
    /// Time at which the error was remembered.
    at: SystemTime,
    /// Start of the call, and tags of the request.
    provenance: Provenance,
}

/// Source of an error that was served from the negative cache. It holds the age of the error.
///
/// [`CacheStatus::of_error`](crate::CacheStatus::of_error) recognizes such an error by it.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    pub(crate) age: Duration,
    first: Error,
}

/// Capacity of the negative cache, in bytes of keys and messages.
const MOST_BYTES: u64 = 4 << 20;
/// Estimated size of an entry in addition to its key and its message, in bytes.
const NEGATIVE_ENTRY_BYTES: usize = 512;

impl NegativeCache {
    pub(crate) fn new(ttl: Duration) -> Self {
        let size = |key: &Key, entry: &Arc<NegativeEntry>| {
            let bytes = NEGATIVE_ENTRY_BYTES + key.as_bytes().len() + entry.error.message().len();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let known = Cache::builder().max_capacity(MOST_BYTES).weigher(size).eviction_policy(EvictionPolicy::lru());
        Self { ttl, known: known.build_with_hasher(RandomState::default()) }
    }

    /// Remembers an error if the request alone caused it, because the request is invalid or too long.
    pub(crate) fn put(&self, key: &Key, error: &Error, provenance: Provenance, now: SystemTime) {
        if matches!(error.kind(), ErrorKind::InvalidRequest | ErrorKind::ContextTooLong) {
            self.known.insert(key.clone(), Arc::new(NegativeEntry { error: error.clone(), at: now, provenance }));
            self.known.run_pending_tasks();
        }
    }

    /// Returns the remembered error of a request, without a charge, unless it has expired or `is_valid` rejects it.
    pub(crate) fn get(&self, key: &Key, now: SystemTime, is_valid: impl FnOnce(&Provenance) -> bool) -> Option<Error> {
        let entry = self.known.get(&key.borrowed())?;
        let age = now.duration_since(entry.at).ok();
        let Some(age) = age.filter(|age| *age < self.ttl && is_valid(&entry.provenance)) else {
            self.remove(key);
            return None;
        };
        let remembered = Remembered { age, first: entry.error.clone() };
        Some(entry.error.clone().with_charge(Charge::None).with_source(remembered))
    }

    pub(crate) fn remove(&self, key: &Key) {
        self.known.invalidate(&key.borrowed());
    }

    pub(crate) fn forget(&self, tenant: &str) {
        for (key, entry) in &self.known {
            if entry.provenance.tags.contains(&crate::Tag::tenant(tenant)) {
                self.remove(&key);
            }
        }
    }

    pub(crate) fn clear(&self) {
        self.known.invalidate_all();
    }
}

impl Remembered {
    /// Returns this source of an error, if the error was served from the negative cache.
    pub(crate) fn of(error: &Error) -> Option<&Self> {
        let mut next = error.source();
        while let Some(cause) = next {
            if let Some(remembered) = cause.downcast_ref() {
                return Some(remembered);
            }
            next = cause.source();
        }
        None
    }
}

impl fmt::Display for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remembered for {} s", self.age.as_secs())
    }
}

impl StdError for Remembered {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.first.source()
    }
}
