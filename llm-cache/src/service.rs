//! Service with a cache in front of it.
//!
//! A hit in the local tier is served here, without waiting. All other calls go through [`respond`].

use std::sync::Arc;

use llm_core::{
    Call, Operation,
    layer::{Complete, LlmService, ResponseFuture, always_ready},
};
use smallvec::smallvec;
use tower_service::Service;

use crate::{
    Cache, Directive, Key, Miss,
    entries::Found,
    failure::not_cached,
    list::List,
    path::{Item, Request, bypass, is_drawn, respond, revalidate, verify},
    telemetry,
};

/// Service with a cache in front of it: see [`CacheLayer`](crate::CacheLayer).
///
/// It is always ready, because a hit does not need the inner service. A call that is sent clones the inner service and
/// waits until the clone is ready. Clones share the cache.
///
/// ```
/// use llm_cache::{Cache, Cached};
/// use llm_core::into_provider;
/// # use llm_providers::scripted::Scripted;
///
/// # let client = Scripted::new();
/// let cached = Cached::new(client, Cache::builder("support").build()?);
/// println!("{} hits", cached.cache().stats().hits);
/// let provider = into_provider(cached);
/// # Ok::<_, llm_cache::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cached<S> {
    inner: S,
    cache: Cache,
}

impl<S> Cached<S> {
    /// Creates a service that puts `cache` in front of `inner`.
    pub fn new(inner: S, cache: Cache) -> Self {
        Self { inner, cache }
    }

    /// Returns the cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }
}

impl<T: Operation, S: LlmService<T>> Service<Call<T>> for Cached<S> {
    always_ready!(T::Output);

    fn call(&mut self, call: Call<T>) -> Self::Future {
        let cache = &self.cache.0;
        let directive = Directive::of(&call, &cache.directive_policy);
        if directive.no_store {
            let reply = bypass(Arc::clone(cache), self.inner.clone(), call, directive.only_if_cached);
            return ResponseFuture::waiting(telemetry::run(T::NAME, reply));
        }
        if let Some(parts) = call.body.items().filter(|parts| parts.len() > 1) {
            let request = Request::divided(Arc::clone(cache), directive, call, parts);
            let found = request.peek();
            return self.wait(request, found);
        }
        let prefix = cache.prefix(&call, &directive);
        // The request is serialized once. Its key is compared inside the buffer, and copied only if the call continues.
        let (found, is_drawn, key) = Key::with_borrowed(&prefix, &call.body, |key| {
            let found = cache.entries.peek::<Complete<T>>(key, &directive);
            let is_drawn = !cache.is_shadow && is_drawn(cache, &found);
            let is_done = !cache.is_shadow && found.is_served() && !is_drawn && !found.is_revalidated();
            (found, is_drawn, (!is_done).then(|| key.to_key()))
        });
        let keys = key.map(|key| prefix.keys(&call.body, key));
        let request = |directive, keys| Request::one(Arc::clone(cache), directive, call, keys);
        let reply = match (found, keys) {
            (found, Some(keys)) if cache.is_shadow => return self.wait(request(directive, keys), smallvec![found]),
            (Found::Served(stored, stale), keys) => {
                // The keys are kept for a background call.
                if let Some(keys) = keys {
                    let request = request(directive, keys);
                    match is_drawn {
                        true => verify(&request, &self.inner, &stored),
                        false => revalidate(&request, &self.inner, smallvec![0]),
                    }
                }
                Ok(Item::stored(stored, stale).into_reply(cache, Miss::Unknown))
            }
            _ if directive.only_if_cached && !cache.entries.store.has_remote_tier() => Err(not_cached()),
            (found, keys) => {
                let keys = keys.expect("the keys are kept unless the call is answered here");
                return self.wait(request(directive, keys), smallvec![found]);
            }
        };
        ResponseFuture::ready(reply.map(|reply| telemetry::emit(T::NAME, reply)))
    }
}

impl<S> Cached<S> {
    /// Returns the reply to a request that may have to wait. `found` has the results of its lookup in the local tier.
    fn wait<T>(&self, request: Request<T>, found: List<Found<Complete<T>>>) -> ResponseFuture<T::Output>
    where
        T: Operation,
        S: LlmService<T>,
    {
        let reply = respond(Arc::new(request), self.inner.clone(), found, || ());
        ResponseFuture::waiting(telemetry::run(T::NAME, reply))
    }
}
