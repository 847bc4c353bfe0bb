//! Rules by which responses are stored, and entries are invalidated.

use std::{
    sync::{Arc, Once},
    time::{Duration, SystemTime},
};

use llm_core::{Clock, layer::Accounting};
use serde::Serialize;

use crate::{
    Key, StoreError, Tag,
    observe::Counts,
    policy::{CacheIf, Freshness, InvalidationEpochs, Timestamp},
    store::{Entry, Expiry, Provenance, Store},
};

/// Entries of a cache in all tiers of its store.
pub(crate) struct Entries {
    /// Store, which another cache may share.
    pub(crate) store: Arc<dyn Store>,
    /// Invalidations that this process knows. The store may know others.
    epochs: Arc<InvalidationEpochs>,
    /// Times to live, and times after expiry for which entries can still be used.
    pub(crate) freshness: Freshness,
    /// Conditions under which a response is stored.
    pub(crate) admission: Admission,
    /// Clock by which entries expire.
    pub(crate) clock: Arc<dyn Clock>,
    /// Counters of the cache.
    pub(super) counts: Arc<Counts>,
    /// Guard by which only the first response that is too large is logged.
    too_large: Once,
}

/// Conditions under which a response is stored and served.
#[derive(Clone, Default)]
pub(crate) struct Admission {
    /// Predicates on responses by their types.
    pub(crate) cache_if: CacheIf,
    /// True if responses of fallback models are stored.
    pub(crate) cache_fallbacks: bool,
    /// Size of the largest entry, in bytes.
    pub(crate) max_bytes: u64,
}

/// Options of a response to be stored.
pub(crate) struct StoreOptions {
    /// Time to live; `None` for a response that does not expire.
    pub(crate) ttl: Option<Duration>,
    /// Size of the response in memory, in bytes, if it is known.
    pub(crate) memory_size: Option<u64>,
    /// Start of the call, and tags of the response.
    pub(crate) provenance: Provenance,
}

impl Entries {
    pub(crate) fn new(
        (store, epochs): (Arc<dyn Store>, Arc<InvalidationEpochs>),
        freshness: Freshness,
        admission: Admission,
        clock: Arc<dyn Clock>,
        counts: Arc<Counts>,
    ) -> Self {
        epochs.advance(store.latest());
        Self { store, epochs, freshness, admission, clock, counts, too_large: Once::new() }
    }

    /// Returns the store and its invalidations, for another cache that shares them.
    pub(crate) fn shared(&self) -> (Arc<dyn Store>, Arc<InvalidationEpochs>) {
        (Arc::clone(&self.store), Arc::clone(&self.epochs))
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Returns the provenance of the response to a call that starts now.
    pub(crate) fn begin(&self, tags: Arc<[Tag]>) -> Provenance {
        Provenance { started_at: self.epochs.timestamp(self.store_time()), tags }
    }

    /// Returns `true` if none of the tags of a response has been invalidated since its call began.
    pub(crate) fn is_valid(&self, provenance: &Provenance) -> bool {
        self.allows(&provenance.tags, provenance.started_at)
    }

    fn allows(&self, tags: &[Tag], started_at: Timestamp) -> bool {
        self.epochs.allow(tags, started_at) && self.store.allows(tags, started_at)
    }

    /// Returns the predicate by which a caller with the provenance `own` joins a running call, given the call's
    /// provenance. It is true if neither the caller's tags nor those of the call were invalidated since the call began.
    pub(crate) fn joins<'a>(&'a self, own: &'a Provenance) -> impl Fn(&Provenance) -> bool + Sync + 'a {
        |leader| self.allows(&own.tags, leader.started_at) && self.is_valid(leader)
    }

    /// Returns `true` if the settings of the cache allow a response to be stored.
    pub(crate) fn admits<C: 'static>(&self, response: &C, accounting: &Accounting) -> bool {
        let Admission { cache_if, cache_fallbacks, .. } = &self.admission;
        (*cache_fallbacks || !accounting.fallback) && cache_if.allows(response, accounting)
    }

    /// Stores a response if it is not too large and has not been invalidated.
    pub(crate) fn put<C>(&self, key: &Key, response: Arc<C>, accounting: Accounting, options: StoreOptions)
    where
        C: Serialize + Send + Sync + 'static,
    {
        let StoreOptions { ttl, memory_size, provenance } = options;
        if !self.is_valid(&provenance) {
            return;
        }
        let stored_at = self.now();
        let expiry = Expiry { stored_at, fresh_until: self.freshness.fresh_until(stored_at, ttl) };
        let Some(entry) = Entry::new(key, response, memory_size, accounting, expiry, provenance) else { return };
        let max_bytes = self.admission.max_bytes.min(self.store.max_entry_bytes());
        if u64::from(entry.bytes()) > max_bytes {
            self.count_too_large(entry.bytes(), max_bytes);
            return;
        }
        if self.store.put(key.clone(), Arc::new(entry)) {
            self.counts.stored.one();
            // A recorder must get the store's totals after each change, whereas `Cache::stats` reads them on demand.
            #[cfg(feature = "metrics")]
            self.counts.take_store(&self.store.stats(), self.store.evictions());
        }
    }

    fn count_too_large(&self, bytes: u32, max_bytes: u64) {
        self.counts.too_large.one();
        self.too_large.call_once(|| {
            tracing::warn!(
                bytes,
                max_bytes,
                "a response is too large to store: raise max_response_bytes, and max_bytes if it is smaller; \
                 further ones are counted only (too_large)"
            );
        });
    }

    /// Invalidates all entries and running calls with a tag, or all entries and running calls if `tag` is `None`.
    ///
    /// # Errors
    ///
    /// The error of the store, if it fails to remember the invalidation.
    pub(crate) async fn invalidate(&self, tag: Option<Tag>) -> Result<(), StoreError> {
        let timestamp = match tag.clone() {
            Some(tag) => self.epochs.invalidate(tag, self.store_time()),
            None => self.epochs.invalidate_all(self.store_time()),
        };
        self.store.invalidate(tag.as_ref(), timestamp).await
    }

    /// Makes the timestamps of all later calls and invalidations greater than `timestamp`, unless the store has a clock
    /// of its own.
    #[cfg(feature = "at-rest")]
    pub(crate) fn advance(&self, timestamp: Timestamp) {
        if self.store.time().is_none() {
            self.epochs.advance(timestamp);
        }
    }

    /// Returns the current time for timestamps, by the clock of the store if it has one, and otherwise by that of the
    /// cache.
    fn store_time(&self) -> SystemTime {
        self.store.time().unwrap_or_else(|| self.now())
    }
}
