//! What the clones of a cache share.

use std::{
    sync::{Arc, Once},
    time::{Duration, SystemTime},
};

use llm_core::{Call, Clock, Error, Operation, Tenant, Usd, layer::Accounting};
use serde::Serialize;

use crate::{
    Directive, DirectivePolicy, Key, Mismatch, Tag,
    background::Tasks,
    counts::Counts,
    freshness::Freshness,
    invalidation::{InvalidationEpochs, Timestamp},
    keep::Keep,
    key::{Frame, Keys},
    path::single_flight::SingleFlights,
    refusal::Refusals,
    samples::Samples,
    store::{Entry, Expiry, Provenance, Store},
    verification::Auditor,
};

pub(crate) struct Inner {
    pub(crate) namespace: Arc<str>,
    pub(crate) flights: Arc<SingleFlights>,
    pub(crate) caps: DirectivePolicy,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) epochs: Arc<InvalidationEpochs>,
    pub(crate) freshness: Freshness,
    pub(crate) max_answer_bytes: u64,
    pub(crate) keep: Keep,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counts: Arc<Counts>,
    /// Done once the first answer that was too large to store is logged.
    pub(crate) too_large: Once,
    /// Calls terms unchanged, whatever is decided.
    pub(crate) observe: bool,
    pub(crate) keep_fallbacks: bool,
    pub(crate) background: Option<Arc<Tasks>>,
    pub(crate) audit: Option<Auditor>,
    pub(crate) samples: Option<Samples>,
    pub(crate) refusals: Option<Refusals>,
}

/// How an answer is kept.
pub(crate) struct StoreOptions {
    pub(crate) ttl: Option<Duration>,
    /// What it takes in memory, in bytes, where that is known.
    pub(crate) memory_size: Option<u64>,
    pub(crate) provenance: Provenance,
}

impl Inner {
    /// What a call's answer is kept under, and what its call runs under.
    pub(crate) fn keys<T: Operation>(&self, frame: &Frame<'_>, question: &T) -> Keys {
        frame.keys(question, Key::lend(frame, question, |key| key.to_key()))
    }

    /// Which answer a call is about: where a question has several, each call is about the next.
    pub(crate) fn frame<'a, T: Operation>(&'a self, call: &'a Call<T>, directive: &'a Directive) -> Frame<'a> {
        let frame = Frame::of(&self.namespace, call, directive);
        match &self.samples {
            // Whoever takes only what is stored gets the first answer, which is there before any other.
            Some(samples) if call.body.is_sampled() && !directive.only_if_cached => {
                let sample = Key::lend(&frame, &call.body, |key| samples.next(key));
                Frame { sample, ..frame }
            }
            _ => frame,
        }
    }

    /// The error with which this question was refused a short time ago.
    pub(crate) fn refusal(&self, keys: &Keys) -> Option<Error> {
        let (refusals, now) = (self.refusals.as_ref()?, self.now());
        let refusal = refusals.get(&keys.flight, now)?;
        if !self.allows(&refusal.provenance, refusal.provenance.started_at) {
            refusals.remove(&keys.flight);
            return None;
        }
        self.counts.refused.one();
        Some(refusal.told(now))
    }

    /// A question failed: remembered if that is due to the question alone.
    pub(crate) fn refuse(&self, keys: &Keys, error: &Error, provenance: Provenance) {
        if let Some(refusals) = &self.refusals {
            refusals.put(&keys.flight, error, provenance, self.now());
        }
    }

    /// Reports an audit of which the answer has come.
    pub(crate) fn audited<T: Operation>(&self, agrees: bool, question: &T, tenant: Tenant, age: Duration) {
        if agrees {
            return;
        }
        self.counts.disagreed.one();
        let (operation, model) = (T::NAME, question.model().into());
        tracing::warn!(llm.operation = operation, age_s = age.as_secs(), "a stored answer and a new one disagree");
        if let Some(audit) = &self.audit {
            audit.tell(&Mismatch { operation, model, tenant, age });
        }
    }

    pub(crate) fn ttl<T: Operation>(&self, call: &Call<T>, directive: &Directive) -> Option<Duration> {
        self.freshness.ttl(call, directive)
    }

    /// A call begins, whose answer will have these tags.
    pub(crate) fn begin(&self, tags: Arc<[Tag]>) -> Provenance {
        Provenance { started_at: self.epochs.timestamp(self.store_time()), tags }
    }

    /// True if what has these tags and began at a moment has not been invalidated since.
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
        if !self.keep.allows(&*answer) || !self.allows(&provenance, provenance.started_at) {
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
            let told = || (self.store.stats(), self.store.evictions(), self.counts.store_errors.get());
            self.counts.meters.stats(told);
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

    /// An answer of this list price did not have to be bought.
    pub(crate) fn saved(&self, cost: Option<Usd>) {
        let nanos = cost.map_or(0, |cost| u64::try_from(cost.nanos()).unwrap_or_default());
        self.counts.saved.add(nanos);
    }

    /// The time that moments are told by.
    pub(crate) fn store_time(&self) -> SystemTime {
        self.store.time().unwrap_or_else(|| self.now())
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }
}
