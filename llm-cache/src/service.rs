use std::{
    sync::Arc,
    task::{Context, Poll},
};

use llm_core::{
    Call, Cause, Complete, Error, Facts, Operation, Origin, Output, Receipt, Reply, Serves, future::ResponseFuture,
};
use tower_service::Service;

use crate::{
    Cache, CacheStatus, Directive, Key, Stale,
    inner::{Found, Inner, Stored},
    items::by_item,
    store::Entry,
    upstream::{Errand, pass, seek, unanswered},
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

impl<T: Operation, S: Serves<T>> Service<Call<T>> for Cached<S> {
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
            return ResponseFuture::waiting(pass(Arc::clone(cache), self.inner.clone(), call));
        }
        if let Some(parts) = call.body.parts().filter(|parts| parts.len() > 1) {
            let (cache, inner) = (Arc::clone(cache), self.inner.clone());
            return ResponseFuture::waiting(by_item(Errand { cache, inner, directive }, call, parts));
        }
        // The question is written once: it is compared as it lies, and copied only if it is not answered at once.
        let (found, key) = Key::lend(&cache.namespace, &call.tenant, &call.body, |key| {
            let found = if directive.no_cache { Found::Nothing } else { cache.peek::<Complete<T>>(key, &directive) };
            let key = (!found.is_served()).then(|| key.to_key());
            (found, key)
        });
        match found {
            Found::Fresh(stored) => return ResponseFuture::ready(Ok(hit(cache, stored))),
            Found::Stale(stored) => return ResponseFuture::ready(Ok(stale(cache, stored, Stale::Allowed))),
            _ if directive.only_if_cached && !cache.store.is_far() => {
                return ResponseFuture::ready(Err(unanswered()));
            }
            _ => {}
        }
        let key = key.expect("a key is kept wherever the question is not answered at once");
        let errand = Errand { cache: Arc::clone(cache), inner: self.inner.clone(), directive };
        ResponseFuture::waiting(seek(errand, key, call, found))
    }
}

/// A reply made of a stored answer.
pub(crate) fn hit<O: Output>(cache: &Inner, stored: Stored<O::Complete>) -> Reply<O> {
    let origin = cache.hit(&stored.entry);
    replay(stored, origin)
}

/// A reply made of a stored answer that is past its time.
pub(crate) fn stale<O: Output>(cache: &Inner, stored: Stored<O::Complete>, why: Stale) -> Reply<O> {
    let origin = cache.stale(&stored.entry);
    let mut reply = replay::<O>(stored, origin);
    if let Origin::Cache { tier, age } = origin {
        reply.extensions.insert(CacheStatus::Hit { tier, age, stale: Some(why) });
    }
    reply
}

fn replay<O: Output>(stored: Stored<O::Complete>, origin: Origin) -> Reply<O> {
    let facts = saved(&stored.entry, origin);
    let usage = facts.usage;
    Reply::new(O::replay(stored.answer, usage), Receipt::new(facts))
}

/// What is known of a stored answer when it is served again: all of its cost is saved.
pub(crate) fn saved(entry: &Entry, origin: Origin) -> Facts {
    let mut facts = entry.facts.clone();
    facts.origin = origin;
    if let Some(cost) = facts.cost {
        facts.saved.add(Cause::CacheHit, cost);
    }
    facts
}
