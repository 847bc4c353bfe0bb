//! State that the clones of a cache share.

use std::sync::Arc;

use llm_core::{Call, Operation, Usd};

use crate::{
    Directive, DirectivePolicy, Key, Stale,
    entries::Entries,
    key::KeyPrefix,
    observe::Counts,
    path::single_flight::SingleFlights,
    policy::{NegativeCache, Variants, VerificationSampler},
    tasks::Tasks,
};

pub(crate) struct Inner {
    /// Namespace, which is in every key.
    pub(crate) namespace: Arc<str>,
    /// Entries in all tiers, and the rules for storing and serving them.
    pub(crate) entries: Entries,
    /// Running calls of this process, which later callers join.
    pub(crate) single_flights: Arc<SingleFlights>,
    /// Errors of requests that vendors refused; `None` if the negative cache is off.
    pub(crate) negative_cache: Option<NegativeCache>,
    /// Round robin over several responses to a request; `None` if each request has one response.
    pub(crate) variants: Option<Variants>,
    /// Tasks that send calls without a waiting caller; `None` if the cache sends no such calls.
    pub(crate) background: Option<Arc<Tasks>>,
    /// Sampler that chooses the hits to verify; `None` if no hits are verified.
    pub(crate) verification: Option<VerificationSampler>,
    /// Limits on the directives of calls.
    pub(crate) directive_policy: DirectivePolicy,
    /// True if every call is sent unchanged, and the cache only reports what it would have done.
    pub(crate) is_shadow: bool,
    /// Counters, which layers and tasks share.
    pub(crate) counts: Arc<Counts>,
}

impl Inner {
    /// Returns the prefix of the key for a call. If the request has several variants, it is the prefix of the next
    /// variant.
    pub(crate) fn prefix<'a, T: Operation>(&'a self, call: &'a Call<T>, directive: &'a Directive) -> KeyPrefix<'a> {
        let prefix = KeyPrefix::of(&self.namespace, call, directive);
        match &self.variants {
            // A call with `only_if_cached` gets the first variant, because it is stored before all others.
            Some(variants) if call.body.is_sampled() && !directive.only_if_cached => {
                let variant = Key::with_borrowed(&prefix, &call.body, |key| variants.next(key));
                KeyPrefix { variant, ..prefix }
            }
            _ => prefix,
        }
    }

    /// Draws requests for verification. Returns `true` if the next request is to be sent again in case it is a fresh
    /// hit.
    pub(crate) fn draws_verification(&self) -> bool {
        self.verification.as_ref().is_some_and(VerificationSampler::draws)
    }

    /// Returns `true` if a hit needs no call in the background and can be served at once. `stale` is the reason for
    /// serving an expired entry, and `verifies` is true if a fresh one is verified.
    pub(crate) fn serves_at_once(&self, stale: Option<Stale>, verifies: bool) -> bool {
        !self.is_shadow && stale != Some(Stale::Revalidating) && !(verifies && stale.is_none())
    }

    /// Adds the cost of a served response to the saved cost, because it did not have to be paid again. Adds nothing for
    /// an unknown cost.
    pub(crate) fn saved(&self, cost: Option<Usd>) {
        let nanos = cost.map_or(0, |cost| u64::try_from(cost.nanos()).unwrap_or_default());
        self.counts.saved.add(nanos);
    }
}
