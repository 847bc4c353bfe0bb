//! What the clones of a cache share.

use std::{
    sync::{Arc, Once},
    time::{Duration, SystemTime},
};

use llm_core::{Call, Clock, Error, Operation, Origin, Priority, Tenant, Usd, layer::Accounting};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Directive, DirectivePolicy, Key, Mismatch, Miss, Stale, Tag,
    background::Tasks,
    counts::{Began, Counts},
    flight::Flights,
    freshness::{Freshness, Verdict},
    generations::{Generations, Moment},
    keep::Keep,
    key::{Frame, Keys, Lent},
    refusal::Refusals,
    samples::Samples,
    store::{Claim, Claimant, Entry, Lease, Life, MaxWait, Source, Store},
    verification::Auditor,
};

pub(crate) struct Inner {
    pub(crate) namespace: Arc<str>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) caps: DirectivePolicy,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) generations: Arc<Generations>,
    pub(crate) freshness: Freshness,
    pub(crate) max_answer_bytes: u64,
    pub(crate) keep: Keep,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counts: Arc<Counts>,
    /// Done once the first answer that was too large to store is logged.
    pub(crate) too_large: Once,
    /// Calls pass unchanged, whatever is decided.
    pub(crate) observe: bool,
    pub(crate) keep_fallbacks: bool,
    pub(crate) background: Option<Arc<Tasks>>,
    pub(crate) audit: Option<Auditor>,
    pub(crate) samples: Option<Samples>,
    pub(crate) refusals: Option<Refusals>,
}

/// A stored answer.
pub(crate) struct Stored<C> {
    pub(crate) answer: Arc<C>,
    pub(crate) entry: Arc<Entry>,
}

/// What the store has for a call.
pub(crate) enum Found<C> {
    /// An answer to serve.
    Fresh(Stored<C>),
    /// An answer to serve, and to say that it is stale, and why it is served.
    Stale(Stored<C>, Stale),
    /// An answer for the case that the call fails.
    Spare(Stored<C>),
    /// An answer that is too old for this call.
    TooOld,
    /// An answer that was past its time, or invalidated, and has gone.
    Gone,
    /// Nothing.
    Nothing,
}

/// What becomes of a call that is about to be made.
pub(crate) enum Claimed<C> {
    /// It need not be made.
    Stored(Stored<C>),
    /// It is to be made.
    Lead(Lease),
    /// Another process is making it still.
    Taken,
}

/// How an answer is kept.
pub(crate) struct Stay {
    pub(crate) ttl: Option<Duration>,
    /// What it takes in memory, in bytes, where that is known.
    pub(crate) weight: Option<u64>,
    pub(crate) source: Source,
}

impl Inner {
    /// What is at hand under a key, if it is of this type, and what it is worth to a call.
    pub(crate) fn peek<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        key: Lent<'_>,
        directive: &Directive,
    ) -> Found<C> {
        let began = Began::now();
        let found = self.store.peek(key).map_or(Found::Nothing, |entry| self.judge(key, entry, directive));
        self.counts.meters.looked_near(began);
        found
    }

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
        if !self.allows(&refusal.source, refusal.source.begun) {
            refusals.remove(&keys.flight);
            return None;
        }
        self.counts.refused.one();
        Some(refusal.told(now))
    }

    /// A question failed: remembered if that is due to the question alone.
    pub(crate) fn refuse(&self, keys: &Keys, error: &Error, source: Source) {
        if let Some(refusals) = &self.refusals {
            refusals.put(&keys.flight, error, source, self.now());
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

    /// What there is under some keys, at hand or further away, in their order.
    pub(crate) async fn look<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        keys: &[Key],
        directive: &Directive,
    ) -> Vec<Found<C>> {
        let found = keys.iter().map(|key| self.peek(key.lent(), directive)).collect();
        self.look_further(keys, directive, found).await
    }

    /// What there is further away under those keys of which nothing to serve was at hand.
    pub(crate) async fn look_further<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        keys: &[Key],
        directive: &Directive,
        mut found: Vec<Found<C>>,
    ) -> Vec<Found<C>> {
        if !self.store.is_far() {
            return found;
        }
        let far: Vec<usize> = (0..keys.len()).filter(|at| !found[*at].is_served()).collect();
        let wanted: Vec<Key> = far.iter().map(|at| keys[*at].clone()).collect();
        let removals = self.store.removals();
        for (at, entry) in far.into_iter().zip(self.fetch(&wanted).await) {
            let key = keys[at].lent();
            let Some(entry) = entry else { continue };
            let further = self.judge(key, Arc::clone(&entry), directive);
            if further.is_served() {
                self.store.promote(key, &entry, removals);
            }
            // What lies further away is never older than what is at hand.
            if !matches!(further, Found::Nothing) {
                found[at] = further;
            }
        }
        found
    }

    /// The fresh answer under a key.
    pub(crate) async fn fresh<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        key: &Key,
        directive: &Directive,
    ) -> Option<Stored<C>> {
        match self.look(std::slice::from_ref(key), directive).await.pop() {
            Some(Found::Fresh(stored)) => Some(stored),
            _ => None,
        }
    }

    /// The fresh answer under a key, or the right to make the call; it may wait for another process that is making it.
    pub(crate) async fn claim<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        keys: &Keys,
        directive: &Directive,
        priority: Priority,
        wait: MaxWait,
    ) -> Claimed<C> {
        let key = keys.answer.lent();
        if !self.store.leases() {
            let stored = self.fresh(&keys.answer, directive).await;
            return stored.map_or_else(|| Claimed::Lead(Lease::free()), Claimed::Stored);
        }
        if let Found::Fresh(stored) = self.peek(key, directive) {
            return Claimed::Stored(stored);
        }
        let fresh = |entry: &Arc<Entry>| match self.judge::<C>(key, Arc::clone(entry), directive) {
            Found::Fresh(stored) => Some(stored),
            _ => None,
        };
        let serves = |entry: &Arc<Entry>| fresh(entry).is_some();
        let removals = self.store.removals();
        match self.store.claim(Claimant { keys, priority, wait, serves: &serves }).await {
            Ok(Claim::Found(entry)) => {
                self.store.promote(key, &entry, removals);
                fresh(&entry).map_or_else(|| Claimed::Lead(Lease::free()), Claimed::Stored)
            }
            Ok(Claim::Lead(lease)) => Claimed::Lead(lease),
            Ok(Claim::Taken) => Claimed::Taken,
            Err(_) => Claimed::Lead(Lease::free()),
        }
    }

    pub(crate) fn ttl<T: Operation>(&self, call: &Call<T>, directive: &Directive) -> Option<Duration> {
        self.freshness.ttl(call, directive)
    }

    /// A call begins, whose answer will have these tags.
    pub(crate) fn begin(&self, tags: Arc<[Tag]>) -> Source {
        Source { begun: self.generations.moment(self.moment()), tags }
    }

    /// Whether what has these tags and began at a moment has not been invalidated since.
    pub(crate) fn allows(&self, source: &Source, begun: Moment) -> bool {
        self.generations.allow(&source.tags, begun) && self.store.allows(&source.tags, begun)
    }

    /// Returns the test of whether a caller may join a running call: neither the caller's tags nor the leader's were
    /// invalidated since the call began.
    pub(crate) fn joins<'a>(&'a self, own: &'a Source) -> impl Fn(&Source) -> bool + Sync + 'a {
        |leader| self.allows(own, leader.begun) && self.allows(leader, leader.begun)
    }

    /// Whether a stored answer has not been invalidated since it was found.
    pub(crate) fn holds<C>(&self, stored: &Stored<C>) -> bool {
        let source = &stored.entry.source;
        self.allows(source, source.begun)
    }

    /// Stores an answer, if the application would keep it, it is not too large, and it has not been invalidated.
    pub(crate) fn store<C>(&self, key: Key, answer: Arc<C>, facts: Accounting, stay: Stay)
    where
        C: Serialize + Send + Sync + 'static,
    {
        let Stay { ttl, weight, source } = stay;
        if !self.keep.allows(&*answer) || !self.allows(&source, source.begun) {
            return;
        }
        let stored_at = self.clock.now();
        let fresh_until = self.freshness.fresh_until(stored_at, ttl, key.as_bytes());
        let life = Life { stored_at, fresh_until };
        let Some(entry) = Entry::new(&key, answer, weight, facts, life, source) else { return };
        let most = self.max_answer_bytes.min(self.store.max_entry_bytes());
        if u64::from(entry.bytes()) > most {
            self.too_large(entry.bytes(), most);
            return;
        }
        if self.store.put(key, Arc::new(entry)) {
            self.counts.stored.one();
            let told = || (self.store.census(), self.store.evictions(), self.counts.store_errors.get());
            self.counts.meters.census(told);
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

    pub(crate) fn hit(&self, entry: &Entry) -> Origin {
        self.counts.hits.one();
        self.counts.far_hits.add(u64::from(entry.tier != "memory"));
        self.saved(entry.facts.cost);
        Origin::Cache { tier: entry.tier, age: entry.age(self.now()) }
    }

    /// An answer of this list price did not have to be bought.
    pub(crate) fn saved(&self, cost: Option<Usd>) {
        let nanos = cost.map_or(0, |cost| u64::try_from(cost.nanos()).unwrap_or_default());
        self.counts.saved.add(nanos);
    }

    /// The time that moments are told by.
    pub(crate) fn moment(&self) -> SystemTime {
        self.store.time().unwrap_or_else(|| self.now())
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    pub(crate) fn stale(&self, entry: &Entry) -> Origin {
        self.counts.stale.one();
        self.hit(entry)
    }

    pub(crate) fn coalesced(&self) -> Origin {
        self.counts.coalesced.one();
        Origin::Coalesced
    }

    /// What lies further away. A store that fails has nothing.
    async fn fetch(&self, keys: &[Key]) -> Vec<Option<Arc<Entry>>> {
        if keys.is_empty() {
            return Vec::new();
        }
        let began = Began::now();
        let fetched = self.store.fetch(keys).await;
        self.counts.meters.looked_far(began);
        fetched.unwrap_or_else(|error| {
            self.counts.store_errors.one();
            tracing::warn!(%error, "the cache's store failed and counts as empty");
            Vec::new()
        })
    }

    /// What an entry is worth to a call. One that is worth nothing to anybody goes.
    fn judge<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        key: Lent<'_>,
        entry: Arc<Entry>,
        directive: &Directive,
    ) -> Found<C> {
        let Some(answer) = entry.answer() else { return Found::Nothing };
        if !self.allows(&entry.source, entry.source.begun) {
            self.store.discard(key, &entry);
            return Found::Gone;
        }
        match self.freshness.judge(&entry.life, self.clock.now(), directive) {
            Verdict::Fresh => Found::Fresh(Stored { answer, entry }),
            Verdict::Stale => Found::Stale(Stored { answer, entry }, Stale::Allowed),
            Verdict::Aging => Found::Stale(Stored { answer, entry }, Stale::Revalidating),
            Verdict::Spare => Found::Spare(Stored { answer, entry }),
            Verdict::TooOld => Found::TooOld,
            Verdict::Expired => {
                self.store.discard(key, &entry);
                Found::Gone
            }
        }
    }
}

impl<C> Found<C> {
    /// Whether it is an answer to serve.
    pub(crate) fn is_served(&self) -> bool {
        self.served().is_some()
    }

    /// The answer to serve, and why it is served if it is stale.
    pub(crate) fn served(&self) -> Option<(&Stored<C>, Option<Stale>)> {
        match self {
            Self::Fresh(stored) => Some((stored, None)),
            Self::Stale(stored, why) => Some((stored, Some(*why))),
            Self::Spare(_) | Self::TooOld | Self::Gone | Self::Nothing => None,
        }
    }

    /// Why a call is made, where nothing better was found.
    pub(crate) fn miss(&self, now: SystemTime) -> Miss {
        match self {
            Self::TooOld => Miss::TooOld,
            // For this call only: its time is not over.
            Self::Spare(stored) if stored.entry.life.is_fresh(now) => Miss::TooOld,
            Self::Spare(_) | Self::Gone => Miss::Gone,
            _ => Miss::Unknown,
        }
    }

    /// The answer for the case that the call fails.
    pub(crate) fn spare(self) -> Option<Stored<C>> {
        match self {
            Self::Spare(stored) => Some(stored),
            _ => None,
        }
    }
}

impl<C> Clone for Stored<C> {
    fn clone(&self) -> Self {
        Self { answer: Arc::clone(&self.answer), entry: Arc::clone(&self.entry) }
    }
}
