//! What the clones of a cache share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use llm_core::{Call, Clock, Facts, Operation, Origin};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Caps, Directive, Key, Tag,
    builder::Keep,
    flight::Flights,
    freshness::{Freshness, Verdict},
    generations::{Generations, Moment},
    key::Lent,
    store::{Entry, Life, Source, Store},
};

pub(crate) struct Inner {
    pub(crate) namespace: Arc<str>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) caps: Caps,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) generations: Generations,
    pub(crate) freshness: Freshness,
    pub(crate) max_answer_bytes: u64,
    pub(crate) keep: Keep,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counts: Counts,
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
    /// An answer to serve, and to say that it is stale.
    Stale(Stored<C>),
    /// An answer for the case that the call fails.
    Spare(Stored<C>),
    /// An answer that is too old for this call.
    TooOld,
    /// Nothing.
    Nothing,
}

/// How an answer is kept.
pub(crate) struct Stay {
    pub(crate) ttl: Option<Duration>,
    /// What it takes in memory, in bytes, where that is known.
    pub(crate) weight: Option<u64>,
    pub(crate) source: Source,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) hits: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) bypassed: AtomicU64,
    pub(crate) coalesced: AtomicU64,
    pub(crate) stored: AtomicU64,
    pub(crate) store_errors: AtomicU64,
}

impl Inner {
    /// What is at hand under a key, if it is of this type, and what it is worth to a call.
    pub(crate) fn peek<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        key: Lent<'_>,
        directive: &Directive,
    ) -> Found<C> {
        self.store.peek(key).map_or(Found::Nothing, |entry| self.judge(key, entry, directive))
    }

    /// What there is under some keys, at hand or further away, in their order.
    pub(crate) async fn look<C: DeserializeOwned + Send + Sync + 'static>(
        &self,
        keys: &[Key],
        directive: &Directive,
    ) -> Vec<Found<C>> {
        let mut found: Vec<Found<C>> = keys.iter().map(|key| self.peek(key.lent(), directive)).collect();
        if !self.store.is_far() {
            return found;
        }
        let far: Vec<usize> = (0..keys.len()).filter(|at| !found[*at].is_served()).collect();
        let wanted: Vec<Key> = far.iter().map(|at| keys[*at].clone()).collect();
        for (at, entry) in far.into_iter().zip(self.fetch(&wanted).await) {
            let key = keys[at].lent();
            let Some(entry) = entry else { continue };
            let further = self.judge(key, Arc::clone(&entry), directive);
            if further.is_served() {
                self.store.promote(key, &entry);
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

    pub(crate) fn ttl<T: Operation>(&self, call: &Call<T>, directive: &Directive) -> Option<Duration> {
        self.freshness.ttl(call, directive)
    }

    /// A call begins, whose answer will have these tags.
    pub(crate) fn begin(&self, tags: Arc<[Tag]>) -> Source {
        Source { begun: self.generations.moment(self.now()), tags }
    }

    /// Whether what has these tags and began at a moment has not been invalidated since.
    pub(crate) fn allows(&self, source: &Source, begun: Moment) -> bool {
        self.generations.allow(&source.tags, begun)
    }

    /// Stores an answer, if the application would keep it, it is not too large, and it has not been invalidated.
    pub(crate) fn store<C>(&self, key: Key, answer: Arc<C>, facts: Facts, stay: Stay)
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
        let entry = Entry::new(&key, answer, weight, facts, life, source);
        let entry = entry.filter(|entry| u64::from(entry.bytes()) <= self.max_answer_bytes);
        if entry.is_some_and(|entry| self.store.put(key, Arc::new(entry))) {
            self.counts.stored.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn hit(&self, entry: &Entry) -> Origin {
        self.hits();
        Origin::Cache { tier: entry.tier, age: entry.age(self.now()) }
    }

    pub(crate) fn hits(&self) {
        self.counts.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    pub(crate) fn stale(&self, entry: &Entry) -> Origin {
        self.counts.stale.fetch_add(1, Ordering::Relaxed);
        self.hit(entry)
    }

    pub(crate) fn missed(&self) -> Origin {
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
        Origin::Vendor
    }

    pub(crate) fn bypassed(&self) {
        self.counts.bypassed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn coalesced(&self) -> Origin {
        self.counts.coalesced.fetch_add(1, Ordering::Relaxed);
        Origin::Coalesced
    }

    /// What lies further away. A store that fails has nothing.
    async fn fetch(&self, keys: &[Key]) -> Vec<Option<Arc<Entry>>> {
        if keys.is_empty() {
            return Vec::new();
        }
        self.store.fetch(keys).await.unwrap_or_else(|_| {
            self.counts.store_errors.fetch_add(1, Ordering::Relaxed);
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
            self.store.discard(key);
            return Found::Nothing;
        }
        match self.freshness.judge(&entry.life, self.clock.now(), directive) {
            Verdict::Fresh => Found::Fresh(Stored { answer, entry }),
            Verdict::Stale => Found::Stale(Stored { answer, entry }),
            Verdict::Spare => Found::Spare(Stored { answer, entry }),
            Verdict::TooOld => Found::TooOld,
            Verdict::Expired => {
                self.store.discard(key);
                Found::Nothing
            }
        }
    }
}

impl<C> Found<C> {
    /// Whether it is an answer to serve.
    pub(crate) fn is_served(&self) -> bool {
        matches!(self, Self::Fresh(_) | Self::Stale(_))
    }
}

impl<C> Clone for Stored<C> {
    fn clone(&self) -> Self {
        Self { answer: Arc::clone(&self.answer), entry: Arc::clone(&self.entry) }
    }
}
