use std::{
    sync::Arc,
    task::{Context, Poll},
};

use llm_core::{
    Call, Cause, Error, Operation, Origin, Output, Receipt, Reply,
    layer::{Accounting, Complete, LlmService, ResponseFuture},
};
use tower_service::Service;

use crate::{
    Cache, CacheStatus, Directive, Key, Stale,
    failure::unanswered,
    inner::{Found, Inner, Stored},
    items::by_item,
    observe::observe,
    refresh::{audit, refresh},
    store::Entry,
    telemetry,
    upstream::{Errand, Made, pass, seek},
    verification::Auditor,
};

/// A service with a cache in front of it: see [`CacheLayer`](crate::CacheLayer).
///
/// Always ready: a hit needs nothing of the inner service. A call that must be made waits for its own clone of it.
/// Clones share the cache.
#[derive(Clone, Debug)]
pub struct Cached<S> {
    inner: S,
    cache: Cache,
}

impl<S> Cached<S> {
    /// Puts `cache` in front of `inner`.
    pub fn new(inner: S, cache: Cache) -> Self {
        Self { inner, cache }
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }
}

impl<T: Operation, S: LlmService<T>> Service<Call<T>> for Cached<S> {
    type Response = Reply<T::Output>;
    type Error = Error;
    type Future = ResponseFuture<T::Output>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<T>) -> Self::Future {
        let cache = &self.cache.0;
        let directive = Directive::of(&call, &cache.caps);
        if directive.no_store {
            if directive.only_if_cached && !cache.observe {
                return ResponseFuture::ready(Err(unanswered()));
            }
            let passed = pass(self.errand(directive), call);
            return ResponseFuture::waiting(telemetry::run(T::NAME, passed));
        }
        if cache.observe {
            return ResponseFuture::waiting(telemetry::run(T::NAME, observe(self.errand(directive), call)));
        }
        if let Some(parts) = call.body.parts().filter(|parts| parts.len() > 1) {
            return ResponseFuture::waiting(telemetry::run(T::NAME, by_item(self.errand(directive), call, parts)));
        }
        let frame = cache.frame(&call, &directive);
        // The question is written once: it is compared as it lies, and copied only if it is not answered at once.
        let (found, key) = Key::lend(&frame, &call.body, |key| {
            let found = if directive.no_cache { Found::Nothing } else { cache.peek::<Complete<T>>(key, &directive) };
            let is_asked_again = match &found {
                Found::Fresh(_) => cache.audit.as_ref().is_some_and(Auditor::draws),
                Found::Stale(_, why) => *why == Stale::Revalidating,
                _ => true,
            };
            (found, is_asked_again.then(|| key.to_key()))
        });
        let keys = key.map(|key| frame.keys(&call.body, key));
        match (found, keys) {
            (Found::Fresh(stored), keys) => {
                if let Some(keys) = keys {
                    audit(&self.errand(directive.clone()), keys, &call, &stored);
                }
                ResponseFuture::ready(Ok(telemetry::told(T::NAME, hit(cache, stored))))
            }
            (Found::Stale(stored, why), keys) => {
                if let Some(keys) = keys {
                    refresh(&self.errand(directive.clone()), keys, &call);
                }
                ResponseFuture::ready(Ok(telemetry::told(T::NAME, stale(cache, stored, why))))
            }
            _ if directive.only_if_cached && !cache.store.is_far() => ResponseFuture::ready(Err(unanswered())),
            (found, keys) => {
                let keys = keys.expect("keys are kept wherever the question is not answered at once");
                ResponseFuture::waiting(telemetry::run(T::NAME, seek(self.errand(directive), keys, call, found)))
            }
        }
    }
}

impl<S: Clone> Cached<S> {
    fn errand(&self, directive: Directive) -> Errand<S> {
        let made: Made = match directive.no_cache || directive.no_store {
            true => |counts| &counts.bypassed,
            false => |counts| &counts.misses,
        };
        Errand { cache: Arc::clone(&self.cache.0), inner: self.inner.clone(), directive, made }
    }
}

/// A reply made of a stored answer.
pub(crate) fn hit<O: Output>(cache: &Inner, stored: Stored<O::Complete>) -> Reply<O> {
    let origin = cache.hit(&stored.entry);
    replay(stored, origin, None)
}

/// A reply made of a stored answer that is past its time.
pub(crate) fn stale<O: Output>(cache: &Inner, stored: Stored<O::Complete>, why: Stale) -> Reply<O> {
    let origin = cache.stale(&stored.entry);
    replay(stored, origin, Some(why))
}

fn replay<O: Output>(stored: Stored<O::Complete>, origin: Origin, stale: Option<Stale>) -> Reply<O> {
    let facts = saved(&stored.entry, origin);
    let usage = facts.usage;
    let mut reply = Reply::new(O::replay(stored.answer, usage), Receipt::new(facts));
    if let Origin::Cache { tier, age } = origin {
        reply.extensions.insert(CacheStatus::Hit { tier, age, stale });
    }
    reply
}

/// What is known of a stored answer when it is served again: all of its cost is saved.
pub(crate) fn saved(entry: &Entry, origin: Origin) -> Accounting {
    let mut facts = entry.facts.clone();
    facts.origin = origin;
    if let Some(cost) = facts.cost {
        facts.saved.add(Cause::CacheHit, cost);
    }
    facts
}
