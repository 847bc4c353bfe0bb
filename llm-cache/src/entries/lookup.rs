//! Lookups: the entries of items in the local and the remote tier, and shares on calling for them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::de::DeserializeOwned;

use super::storing::Entries;
use crate::{
    Directive, Key, Miss, Stale,
    counts::LookupTimer,
    key::{BorrowedKey, CallKeys},
    list::List,
    policy::Verdict,
    store::{Claim, Claimant, Entry, Lease},
};

/// An entry, its response of the type that is wanted, and its age.
pub(crate) struct Stored<C> {
    /// Response, shared with the store.
    pub(crate) response: Arc<C>,
    /// Entry, with its accounting and its tier.
    pub(crate) entry: Arc<Entry>,
    /// Time since it was stored, at the lookup.
    pub(crate) age: Duration,
}

/// Result of a lookup.
pub(crate) enum Found<C> {
    /// An entry to serve, and why it is served if it is stale.
    Served(Stored<C>, Option<Stale>),
    /// A stale entry kept for `stale_if_error`.
    StaleIfError(Stored<C>),
    /// An entry that is too old for this call.
    TooOld,
    /// An entry that had expired or was invalidated, and was removed.
    Gone,
    /// Nothing.
    Nothing,
}

/// Result of a claim on a call.
pub(crate) enum Claimed<C> {
    /// The call is not needed.
    Stored(Stored<C>),
    /// The call is to be sent.
    Lead(Lease),
    /// Another process is still calling.
    Taken,
}

impl Entries {
    /// Looks a key up in the local tier.
    pub(crate) fn peek<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        key: BorrowedKey<'_>,
        directive: &Directive,
    ) -> Found<C> {
        let timer = LookupTimer::now();
        let found = self.store.peek(key).map_or(Found::Nothing, |entry| self.judge(key, entry, directive));
        self.counts.meters.record_local_lookup(timer);
        found
    }

    /// Looks items up in the local tier; with `no_cache`, nothing is found.
    pub(crate) fn peek_all<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        keys: &[CallKeys],
        directive: &Directive,
    ) -> List<Found<C>> {
        let peek = |keys: &CallKeys| match directive.no_cache {
            true => Found::Nothing,
            false => self.peek(keys.entry.borrowed(), directive),
        };
        keys.iter().map(peek).collect()
    }

    /// Looks keys up in both tiers, in their order.
    pub(crate) async fn look<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        keys: &[&Key],
        directive: &Directive,
    ) -> List<Found<C>> {
        let found = keys.iter().map(|key| self.peek(key.borrowed(), directive)).collect();
        self.look_further(keys, directive, found).await
    }

    /// Looks those keys up in the remote tier for which the local tier had no entry to serve.
    pub(crate) async fn look_further<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        keys: &[&Key],
        directive: &Directive,
        found: List<Found<C>>,
    ) -> List<Found<C>> {
        if !self.store.has_remote_tier() {
            return found;
        }
        // In a box, so that calls without a remote tier do not carry its size.
        Box::pin(self.look_remote(keys, directive, found)).await
    }

    async fn look_remote<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        keys: &[&Key],
        directive: &Directive,
        mut found: List<Found<C>>,
    ) -> List<Found<C>> {
        let remote: Vec<usize> = (0..keys.len()).filter(|at| !found[*at].is_served()).collect();
        let wanted: Vec<Key> = remote.iter().map(|at| Key::clone(keys[*at])).collect();
        let removals = self.store.removals();
        for (at, entry) in remote.into_iter().zip(self.fetch(&wanted).await) {
            let key = keys[at].borrowed();
            let Some(entry) = entry else { continue };
            let further = self.judge(key, Arc::clone(&entry), directive);
            if further.is_served() {
                self.store.fill(key, &entry, removals);
            }
            // An entry of the remote tier is never older than that of the local one.
            if !matches!(further, Found::Nothing) {
                found[at] = further;
            }
        }
        found
    }

    /// Returns the fresh entry under a key, or a lease on the call. It may wait for another process that is calling.
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

    /// True if an entry has not been invalidated since it was found.
    pub(crate) fn holds<C>(&self, stored: &Stored<C>) -> bool {
        let provenance = &stored.entry.provenance;
        self.allows(provenance, provenance.started_at)
    }

    /// Fetches entries from the remote tier. A store that fails has none.
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

    /// Decides what an entry is good for. An entry that is good for no call is removed.
    fn judge<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        key: BorrowedKey<'_>,
        entry: Arc<Entry>,
        directive: &Directive,
    ) -> Found<C> {
        let Some(response) = entry.response() else { return Found::Nothing };
        // It stays in the store, where a cache with another predicate may serve it.
        if !self.admission.cache_if.allows::<C>(&response, &entry.accounting) {
            return Found::Nothing;
        }
        if !self.allows(&entry.provenance, entry.provenance.started_at) {
            self.store.evict_unless_newer(key, &entry);
            return Found::Gone;
        }
        if directive.no_fallback && entry.accounting.fallback {
            return Found::Nothing;
        }
        let now = self.clock.now();
        let verdict = self.freshness.judge(&entry.expiry, now, directive);
        let stored = |entry: Arc<Entry>| Stored { response, age: entry.age(now), entry };
        match verdict {
            Verdict::Fresh => Found::Served(stored(entry), None),
            Verdict::Stale => Found::Served(stored(entry), Some(Stale::Allowed)),
            Verdict::Revalidating => Found::Served(stored(entry), Some(Stale::Revalidating)),
            Verdict::StaleIfError => Found::StaleIfError(stored(entry)),
            Verdict::TooOld => Found::TooOld,
            Verdict::Expired => {
                self.store.evict_unless_newer(key, &entry);
                Found::Gone
            }
        }
    }
}

impl<C> Found<C> {
    /// True if it is an entry to serve.
    pub(crate) fn is_served(&self) -> bool {
        self.served().is_some()
    }

    /// True if it is an expired entry that is served while a call replaces it.
    pub(crate) fn is_revalidated(&self) -> bool {
        matches!(self, Self::Served(_, Some(Stale::Revalidating)))
    }

    /// The entry to serve, and why it is served if it is stale.
    pub(crate) fn served(&self) -> Option<(&Stored<C>, Option<Stale>)> {
        if let Self::Served(stored, stale) = self { Some((stored, *stale)) } else { None }
    }

    /// The reason for a call, if no entry is served.
    pub(crate) fn miss(&self, now: impl FnOnce() -> SystemTime) -> Miss {
        match self {
            Self::TooOld => Miss::TooOld,
            // For this call only: its time is not over.
            Self::StaleIfError(stored) if stored.entry.expiry.is_fresh(now()) => Miss::TooOld,
            Self::StaleIfError(_) | Self::Gone => Miss::Gone,
            _ => Miss::Unknown,
        }
    }
}

impl<C> Clone for Stored<C> {
    fn clone(&self) -> Self {
        Self { response: Arc::clone(&self.response), entry: Arc::clone(&self.entry), age: self.age }
    }
}
