//! State that the clones of a cache share.

use std::{sync::Arc, time::Duration};

use llm_core::{Call, Error, Operation, Tenant, Usd};

use crate::{
    CacheStatus, Directive, DirectivePolicy, Key, Mismatch,
    counts::Counts,
    entries::Entries,
    key::{CallKeys, KeyPrefix},
    path::single_flight::SingleFlights,
    policy::{NegativeCache, Variants, VerificationSampler},
    store::Provenance,
    tasks::Tasks,
};

pub(crate) struct Inner {
    /// Namespace, which is in every key.
    pub(crate) namespace: Arc<str>,
    /// Entries in all tiers, and the rules for storing and serving them.
    pub(crate) entries: Entries,
    /// Running calls of this process, which later callers join.
    pub(crate) single_flights: Arc<SingleFlights>,
    /// Errors of requests that vendors refused; `None` if it is off.
    pub(crate) negative_cache: Option<NegativeCache>,
    /// Round robin over several responses to a request; `None` if each has one.
    pub(crate) variants: Option<Variants>,
    /// Room for calls that no caller waits for; `None` if there are to be none.
    pub(crate) background: Option<Arc<Tasks>>,
    /// Draws the hits that are verified; `None` if none are.
    pub(crate) verification: Option<VerificationSampler>,
    /// Limits on the directives of calls.
    pub(crate) directive_policy: DirectivePolicy,
    /// True if every call is sent as it is, whatever the cache would have done.
    pub(crate) is_shadow: bool,
    /// Counters, which layers and tasks share.
    pub(crate) counts: Arc<Counts>,
}

impl Inner {
    /// Returns the key of a request's entry, and that of its running call.
    pub(crate) fn keys<T: Operation>(&self, prefix: &KeyPrefix<'_>, request: &T) -> CallKeys {
        prefix.keys(request, Key::with_borrowed(prefix, request, |key| key.to_key()))
    }

    /// Returns the prefix of a call's key. If a request has several variants, each call is about the next.
    pub(crate) fn prefix<'a, T: Operation>(&'a self, call: &'a Call<T>, directive: &'a Directive) -> KeyPrefix<'a> {
        let prefix = KeyPrefix::of(&self.namespace, call, directive);
        match &self.variants {
            // A call that takes stored responses only gets the first variant, which is stored before any other.
            Some(variants) if call.body.is_sampled() && !directive.only_if_cached => {
                let variant = Key::with_borrowed(&prefix, &call.body, |key| variants.next(key));
                KeyPrefix { variant, ..prefix }
            }
            _ => prefix,
        }
    }

    /// Returns the error with which the vendor refused a request a short time ago.
    pub(crate) fn negative_error(&self, keys: &CallKeys) -> Option<Error> {
        let (negative_cache, now) = (self.negative_cache.as_ref()?, self.entries.now());
        let entry = negative_cache.get(&keys.single_flight, now)?;
        if !self.entries.allows(&entry.provenance, entry.provenance.started_at) {
            negative_cache.remove(&keys.single_flight);
            return None;
        }
        self.counts.negative_hits.one();
        Some(CacheStatus::add_to_error(entry.to_error(now)))
    }

    /// Remembers the error of a request, if it is due to the request alone.
    pub(crate) fn remember_error(&self, keys: &CallKeys, error: &Error, provenance: Provenance) {
        if let Some(negative_cache) = &self.negative_cache {
            negative_cache.put(&keys.single_flight, error, provenance, self.entries.now());
        }
    }

    /// Reports the result of a verification.
    pub(crate) fn report_verification<T: Operation>(&self, agrees: bool, request: &T, tenant: Tenant, age: Duration) {
        if agrees {
            return;
        }
        self.counts.mismatched.one();
        let (operation, model) = (T::NAME, request.model().into());
        tracing::warn!(llm.operation = operation, age_s = age.as_secs(), "a stored response and a new one disagree");
        if let Some(verification) = &self.verification {
            verification.report(&Mismatch { operation, model, tenant, age });
        }
    }

    /// Counts the cost of a response that was not paid for again, as it was served.
    pub(crate) fn saved(&self, cost: Option<Usd>) {
        let nanos = cost.map_or(0, |cost| u64::try_from(cost.nanos()).unwrap_or_default());
        self.counts.saved.add(nanos);
    }
}
