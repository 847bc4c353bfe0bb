//! Lookups of entries in the local and the remote tier, and claims on the calls for entries that are missing.

use std::{sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::storing::Entries;
use crate::{
    Directive, Key, Miss, Stale,
    key::BorrowedKey,
    list::List,
    observe::LookupTimer,
    policy::Verdict,
    store::{Claim, Claimant, Entry, Lease},
};

/// Entry that a lookup found, with its response and its age.
#[derive(Clone)]
pub(crate) struct Stored<C> {
    /// Response, shared with the store.
    pub(crate) response: Arc<C>,
    /// Entry, with its accounting and its tier.
    pub(crate) entry: Arc<Entry>,
    /// Time between the storing of the entry and the lookup.
    pub(crate) age: Duration,
}

/// Result of a lookup.
pub(crate) enum Found<C> {
    /// An entry that is served. If the entry has expired, the second field is the reason for serving it.
    Served(Stored<C>, Option<Stale>),
    /// No entry is served, for this reason. If the call fails, the stale entry in the second field may be served.
    Missed(Miss, Option<Stored<C>>),
}

/// Result of a claim on a call.
pub(crate) enum Claimed<C> {
    /// No call is needed, because this entry was found.
    Stored(Stored<C>),
    /// The call is to be sent under this lease.
    Lead(Lease),
    /// Another process holds the lease on the call, and its call has not ended.
    Taken,
}

impl Entries {
    /// Looks up a key in the local tier. If the directive bypasses entries, nothing is found.
    pub(crate) fn peek<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        key: BorrowedKey<'_>,
        directive: &Directive,
    ) -> Found<C> {
        if directive.no_cache || directive.no_store {
            return Found::nothing();
        }
        let timer = LookupTimer::now();
        let found = self.store.peek(key).map_or_else(Found::nothing, |entry| self.judge(key, entry, directive));
        self.counts.meters.record_local_lookup(timer);
        found
    }

    /// Looks up keys in both tiers. The results are in the order of the keys.
    pub(crate) async fn look<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        keys: &[&Key],
        directive: &Directive,
    ) -> List<Found<C>> {
        let found = keys.iter().map(|key| self.peek(key.borrowed(), directive)).collect();
        self.look_further(keys, directive, found).await
    }

    /// Looks up in the remote tier those keys for which the local tier has no entry to serve. `found` has the results
    /// of the local tier.
    pub(crate) async fn look_further<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        keys: &[&Key],
        directive: &Directive,
        found: List<Found<C>>,
    ) -> List<Found<C>> {
        if directive.no_cache || !self.store.has_remote_tier() {
            return found;
        }
        // Boxed, so that calls without a remote tier do not carry the size of this future.
        Box::pin(self.look_remote(keys, directive, found)).await
    }

    async fn look_remote<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        keys: &[&Key],
        directive: &Directive,
        mut found: List<Found<C>>,
    ) -> List<Found<C>> {
        let remote: List<usize> = (0..keys.len()).filter(|at| !found[*at].is_served()).collect();
        let wanted: List<Key> = remote.iter().map(|at| Key::clone(keys[*at])).collect();
        let removals = self.store.removals();
        for (at, entry) in remote.into_iter().zip(self.fetch(&wanted).await) {
            let key = keys[at].borrowed();
            let Some(entry) = entry else { continue };
            let further = self.judge(key, Arc::clone(&entry), directive);
            if further.is_served() {
                self.store.fill(key, &entry, removals);
            }
            // An entry in the remote tier is never older than one in the local tier, so its result is preferred.
            if !matches!(further, Found::Missed(Miss::Unknown, _)) {
                found[at] = further;
            }
        }
        found
    }

    /// Returns the fresh entry under a key, or a lease on the call for it. The method may wait for the call of another
    /// process.
    pub(crate) async fn claim<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        claimant: Claimant<'_>,
        directive: &Directive,
    ) -> Claimed<C> {
        let key = claimant.keys.entry.borrowed();
        if let Found::Served(stored, None) = self.peek(key, directive) {
            return Claimed::Stored(stored);
        }
        let fresh = |entry: &Arc<Entry>| match self.judge::<C>(key, Arc::clone(entry), directive) {
            Found::Served(stored, None) => Some(stored),
            _ => None,
        };
        let is_usable = |entry: &Arc<Entry>| fresh(entry).is_some();
        let removals = self.store.removals();
        match self.store.claim(claimant, &is_usable).await {
            Ok(Claim::Found(entry)) => {
                self.store.fill(key, &entry, removals);
                fresh(&entry).map_or_else(|| Claimed::Lead(Lease::free()), Claimed::Stored)
            }
            Ok(Claim::Lead(lease)) => Claimed::Lead(lease),
            Ok(Claim::Taken) => Claimed::Taken,
            Err(_) => Claimed::Lead(Lease::free()),
        }
    }

    /// Fetches entries from the remote tier. If the store fails, no entry is returned.
    async fn fetch(&self, keys: &[Key]) -> Vec<Option<Arc<Entry>>> {
        if keys.is_empty() {
            return Vec::new();
        }
        let timer = LookupTimer::now();
        let fetched = self.store.fetch(keys).await;
        self.counts.meters.record_remote_lookup(timer);
        fetched.unwrap_or_else(|error| {
            self.counts.store_errors.one();
            tracing::warn!(%error, "the cache's store failed and counts as empty");
            Vec::new()
        })
    }

    /// Decides how one call may use an entry. An entry that no call may use is evicted.
    fn judge<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        key: BorrowedKey<'_>,
        entry: Arc<Entry>,
        directive: &Directive,
    ) -> Found<C> {
        let Some(response) = entry.response() else { return Found::nothing() };
        // The entry stays in the store, where a cache with another predicate may serve it.
        if !self.admission.cache_if.allows::<C>(&response, &entry.accounting) {
            return Found::nothing();
        }
        if !self.is_valid(&entry.provenance) {
            self.store.evict_unless_newer(key, &entry);
            return Found::Missed(Miss::Gone, None);
        }
        if directive.no_fallback && entry.accounting.fallback {
            return Found::nothing();
        }
        let now = self.clock.now();
        let stored = |entry: Arc<Entry>| Stored { response, age: entry.age(now), entry };
        match self.freshness.judge(&entry.expiry, now, directive) {
            Verdict::Served(stale) => Found::Served(stored(entry), stale),
            // The entry is fresh, and only this call's bound on the age excludes it.
            Verdict::StaleIfError if entry.expiry.is_fresh(now) => Found::Missed(Miss::TooOld, Some(stored(entry))),
            Verdict::StaleIfError => Found::Missed(Miss::Gone, Some(stored(entry))),
            Verdict::TooOld => Found::Missed(Miss::TooOld, None),
            Verdict::Expired => {
                self.store.evict_unless_newer(key, &entry);
                Found::Missed(Miss::Gone, None)
            }
        }
    }
}

impl<C> Found<C> {
    /// Returns the result for a key that has no entry.
    pub(crate) fn nothing() -> Self {
        Self::Missed(Miss::Unknown, None)
    }

    /// Returns `true` if there is an entry to serve.
    pub(crate) fn is_served(&self) -> bool {
        self.served().is_some()
    }

    /// Returns `true` if an expired entry is served while a call replaces it.
    pub(crate) fn is_revalidated(&self) -> bool {
        matches!(self, Self::Served(_, Some(Stale::Revalidating)))
    }

    /// Returns the entry to serve, and the reason for serving it if it has expired.
    pub(crate) fn served(&self) -> Option<(&Stored<C>, Option<Stale>)> {
        if let Self::Served(stored, stale) = self { Some((stored, *stale)) } else { None }
    }

    /// Returns the reason for a call, if no entry is served.
    pub(crate) fn miss(&self) -> Miss {
        if let Self::Missed(miss, _) = self { *miss } else { Miss::Unknown }
    }
}
