//! Service with a cache in front of it.
//!
//! A hit in the local tier is served here, without waiting. All other calls are passed to [`respond`].

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
    list::List,
    observe::telemetry,
    path::{Item, Request, bypass, respond},
};

/// Service with a cache in front of it: see [`CacheLayer`](crate::CacheLayer).
///
/// The service is always ready, because a hit does not need the inner service. A call that is sent clones the inner
/// service and waits until the clone is ready. Clones share the cache.
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
        let verifies = cache.draws_verification();
        // The request is serialized once. Its key is compared inside the buffer, and copied only if the local tier
        // cannot serve the call.
        let looked_up =
            Key::with_borrowed(&prefix, &call.body, |key| match cache.entries.peek::<Complete<T>>(key, &directive) {
                Found::Served(stored, stale) if cache.serves_at_once(stale, verifies) => {
                    Ok(Item::stored(stored, stale))
                }
                found => Err((found, key.to_key())),
            });
        match looked_up {
            Ok(hit) => {
                let reply = hit.into_reply(cache, Miss::Unknown);
                ResponseFuture::ready(Ok(telemetry::emit(T::NAME, reply)))
            }
            Err((found, key)) => {
                let keys = prefix.keys(&call.body, key);
                let mut request = Request::one(Arc::clone(cache), directive, call, keys);
                request.verifies = verifies;
                self.wait(request, smallvec![found])
            }
        }
    }
}

impl<S> Cached<S> {
    /// Returns the reply to a request, which may have to wait. `found` has the results of the lookup in the local tier.
    fn wait<T>(&self, request: Request<T>, found: List<Found<Complete<T>>>) -> ResponseFuture<T::Output>
    where
        T: Operation,
        S: LlmService<T>,
    {
        let reply = respond(Arc::new(request), self.inner.clone(), found, || ());
        ResponseFuture::waiting(telemetry::run(T::NAME, reply))
    }
}
