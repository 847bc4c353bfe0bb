//! State that the clones of a cache share.

use std::{
    sync::{Arc, Once},
    time::{Duration, SystemTime},
};

use llm_core::{Call, Clock, Error, Operation, Tenant, Usd, layer::Accounting};
use serde::Serialize;

use crate::{
    Directive, DirectivePolicy, Key, Mismatch, Tag,
    counts::Counts,
    key::{CallKeys, KeyPrefix},
    path::single_flight::SingleFlights,
    policy::{CacheIf, Freshness, InvalidationEpochs, NegativeCache, Timestamp, Variants, VerificationSampler},
    store::{Entry, Expiry, Provenance, Store},
    tasks::Tasks,
};

pub(crate) struct Inner {
    pub(crate) namespace: Arc<str>,
    pub(crate) single_flights: Arc<SingleFlights>,
    pub(crate) directive_policy: DirectivePolicy,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) epochs: Arc<InvalidationEpochs>,
    pub(crate) freshness: Freshness,
    pub(crate) max_answer_bytes: u64,
    pub(crate) cache_if: CacheIf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counts: Arc<Counts>,
    /// Done once the first answer that was too large to store is logged.
    pub(crate) too_large: Once,
    /// Shadow mode: calls are sent unchanged, whatever is decided.
    pub(crate) is_shadow: bool,
    pub(crate) cache_fallbacks: bool,
    pub(crate) background: Option<Arc<Tasks>>,
    pub(crate) verification: Option<VerificationSampler>,
    pub(crate) variants: Option<Variants>,
    pub(crate) negative_cache: Option<NegativeCache>,
}

/// Options of storing a response.
pub(crate) struct StoreOptions {
    pub(crate) ttl: Option<Duration>,
    /// Size in memory, in bytes, if it is known.
    pub(crate) memory_size: Option<u64>,
    pub(crate) provenance: Provenance,
}

impl Inner {
    /// Returns the keys of a request: that of its entry, and that of its running call.
    pub(crate) fn keys<T: Operation>(&self, prefix: &KeyPrefix<'_>, question: &T) -> CallKeys {
        prefix.keys(question, Key::with_borrowed(prefix, question, |key| key.to_key()))
    }

    /// Which answer a call is about: where a question has several, each call is about the next.
    pub(crate) fn prefix<'a, T: Operation>(&'a self, call: &'a Call<T>, directive: &'a Directive) -> KeyPrefix<'a> {
        let prefix = KeyPrefix::of(&self.namespace, call, directive);
        match &self.variants {
            // Whoever takes only what is stored gets the first answer, which is there before any other.
            Some(variants) if call.body.is_sampled() && !directive.only_if_cached => {
                let variant = Key::with_borrowed(&prefix, &call.body, |key| variants.next(key));
                KeyPrefix { variant, ..prefix }
            }
            _ => prefix,
        }
    }

    /// Returns the remembered error of this request.
    pub(crate) fn negative_error(&self, keys: &CallKeys) -> Option<Error> {
        let (negative_cache, now) = (self.negative_cache.as_ref()?, self.now());
        let entry = negative_cache.get(&keys.single_flight, now)?;
        if !self.allows(&entry.provenance, entry.provenance.started_at) {
            negative_cache.remove(&keys.single_flight);
            return None;
        }
        self.counts.negative_hits.one();
        Some(entry.to_error(now))
    }

    /// A question failed: remembered if that is due to the question alone.
    pub(crate) fn remember_error(&self, keys: &CallKeys, error: &Error, provenance: Provenance) {
        if let Some(negative_cache) = &self.negative_cache {
            negative_cache.put(&keys.single_flight, error, provenance, self.now());
        }
    }

    /// Reports a verification whose response has come.
    pub(crate) fn report_verification<T: Operation>(&self, agrees: bool, question: &T, tenant: Tenant, age: Duration) {
        if agrees {
            return;
        }
        self.counts.mismatched.one();
        let (operation, model) = (T::NAME, question.model().into());
        tracing::warn!(llm.operation = operation, age_s = age.as_secs(), "a stored answer and a new one disagree");
        if let Some(verification) = &self.verification {
            verification.report(&Mismatch { operation, model, tenant, age });
        }
    }

    pub(crate) fn ttl<T: Operation>(&self, call: &Call<T>, directive: &Directive) -> Option<Duration> {
        self.freshness.ttl(call, directive)
    }

    /// Returns the provenance of a call that begins now, whose response will have these tags.
    pub(crate) fn begin(&self, tags: Arc<[Tag]>) -> Provenance {
        Provenance { started_at: self.epochs.timestamp(self.store_time()), tags }
    }

    /// True if an entry of this provenance, of a call that began at this timestamp, is still valid.
    pub(crate) fn allows(&self, provenance: &Provenance, started_at: Timestamp) -> bool {
        self.epochs.allow(&provenance.tags, started_at) && self.store.allows(&provenance.tags, started_at)
    }

    /// Returns the test of whether a caller may join a running call: neither the caller's tags nor the leader's were
    /// invalidated since the call began.
    pub(crate) fn joins<'a>(&'a self, own: &'a Provenance) -> impl Fn(&Provenance) -> bool + Sync + 'a {
        |leader| self.allows(own, leader.started_at) && self.allows(leader, leader.started_at)
    }

    /// Stores an answer, if the application would keep it, it is not too large, and it has not been invalidated.
    pub(crate) fn store<C>(&self, key: Key, answer: Arc<C>, facts: Accounting, options: StoreOptions)
    where
        C: Serialize + Send + Sync + 'static,
    {
        let StoreOptions { ttl, memory_size, provenance } = options;
        if !self.cache_if.allows(&*answer, &facts) || !self.allows(&provenance, provenance.started_at) {
            return;
        }
        let stored_at = self.clock.now();
        let fresh_until = self.freshness.fresh_until(stored_at, ttl, key.as_bytes());
        let expiry = Expiry { stored_at, fresh_until };
        let Some(entry) = Entry::new(&key, answer, memory_size, facts, expiry, provenance) else { return };
        let most = self.max_answer_bytes.min(self.store.max_entry_bytes());
        if u64::from(entry.bytes()) > most {
            self.too_large(entry.bytes(), most);
            return;
        }
        if self.store.put(key, Arc::new(entry)) {
            self.counts.stored.one();
            let read_stats = || (self.store.stats(), self.store.evictions(), self.counts.store_errors.get());
            self.counts.meters.stats(read_stats);
        }
    }

    fn too_large(&self, bytes: u32, max_bytes: u64) {
        self.counts.too_large.one();
        self.too_large.call_once(|| {
            tracing::warn!(
                bytes,
                max_bytes,
                "an answer is too large to store: raise max_response_bytes, and max_bytes if it is smaller; \
                 further ones are counted only (too_large)"
            );
        });
    }

    /// Counts the cost of a response that was not paid for again, as it was served.
    pub(crate) fn saved(&self, cost: Option<Usd>) {
        let nanos = cost.map_or(0, |cost| u64::try_from(cost.nanos()).unwrap_or_default());
        self.counts.saved.add(nanos);
    }

    /// Returns the time of timestamps: the store's own, or this machine's.
    pub(crate) fn store_time(&self) -> SystemTime {
        self.store.time().unwrap_or_else(|| self.now())
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }
}
