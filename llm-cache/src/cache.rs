//! Handle by which an application uses its cache: [`Cache::get_or_call`], statistics, invalidation and closing.
//!
//! A call through [`Cached`](crate::Cached) takes the same path as [`Cache::get_or_call`].

use std::{fmt, future::Future, sync::Arc};

use llm_core::{BoxError, Call, Error, Origin, layer::SerializeError};
use serde::{Serialize, de::DeserializeOwned};
use smallvec::smallvec;

use crate::{
    Directive, Key, Miss, StoreError, Tag,
    entries::Found,
    inner::Inner,
    key::CallKeys,
    keyed::{Keyed, Made},
    observe::Stats,
    path::{Item, Request, bypass, respond},
    store::StoreStats,
};

/// Cache of responses by key, which sends one call for equal requests that run at the same time. Use it alone or in a
/// stack.
///
/// Clones share entries, running calls and statistics. [`CacheLayer`](crate::CacheLayer) puts a cache in front of a
/// service.
///
/// ```
/// use std::time::Duration;
/// use llm_cache::Cache;
///
/// # tokio_test::block_on(async {
/// # async fn ask(_: &str) -> Result<String, std::io::Error> { Ok("Paris".into()) }
/// let cache = Cache::builder("geography").ttl(Duration::from_secs(7 * 24 * 3600)).build()?;
///
/// let question = "What is the capital of France?";
/// let key = cache.key("acme", "capital", question)?;
/// let answer = cache.get_or_call(&key, || ask(question)).await?;
/// assert_eq!(*answer.value, "Paris");
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Cache(pub(crate) Arc<Inner>);

/// Response from [`Cache::get_or_call`].
///
/// ```
/// use llm_cache::Cache;
/// use llm_core::Origin;
///
/// # tokio_test::block_on(async {
/// let cache = Cache::builder("support").build()?;
/// let key = cache.key("acme", "greet", "Hello!")?;
/// let resolved = cache.get_or_call(&key, || async { Ok::<_, std::io::Error>("Hi.".to_owned()) }).await?;
/// assert_eq!((resolved.value.as_str(), resolved.origin), ("Hi.", Origin::Vendor));
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Resolved<T> {
    /// Response, shared with the cache.
    pub value: Arc<T>,
    /// Origin of the response: an entry with its age, the call of another caller, or this caller's own call.
    pub origin: Origin,
}

impl Cache {
    /// Returns the key of a serializable request in this cache's namespace: see [`Key::of`].
    ///
    /// # Errors
    ///
    /// The error that the request's own `Serialize` reports.
    pub fn key(&self, tenant: &str, name: &str, request: &(impl Serialize + ?Sized)) -> Result<Key, SerializeError> {
        Key::of(&self.0.namespace, tenant, name, request)
    }

    /// Returns the stored response. If there is none, returns the response of a call that is running under this key, or
    /// else that of `call`. The response of `call` is stored for the default time to live of
    /// [`CacheBuilder::ttl`](crate::CacheBuilder::ttl). [`get_or_call_with`](Self::get_or_call_with) takes a directive
    /// for one call.
    ///
    /// The closure runs at most once, inside this call, and may borrow. Its future must own its data, because another
    /// caller may poll the future to completion. The future is cancelled only when all of its waiters have been
    /// dropped.
    ///
    /// # Errors
    ///
    /// The error of `call`, which all waiters get. An [`Error`] is returned as it is, and any other error as the source
    /// of an error of kind [`Other`](llm_core::ErrorKind::Other). Errors are not stored, except in the negative cache
    /// ([`CacheBuilder::negative_ttl`](crate::CacheBuilder::negative_ttl)).
    pub async fn get_or_call<T, E, F, Fut>(&self, key: &Key, call: F) -> Result<Resolved<T>, Error>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: Into<BoxError>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.get_or_call_with(key, &Directive::new(), call).await
    }

    /// Returns a response as [`get_or_call`](Self::get_or_call) does, with a directive for this call, such as a time to
    /// live, tags, or the demand that a call is sent.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_cache::{Cache, Directive, Tag};
    ///
    /// # tokio_test::block_on(async {
    /// # async fn ask(_: String) -> Result<String, std::io::Error> { Ok("Rain.".into()) }
    /// let cache = Cache::builder("news").build()?;
    /// let question = String::from("What is the weather in Paris?");
    /// let key = cache.key("acme", "weather", &question)?;
    ///
    /// let today = Directive::new().ttl(Duration::from_secs(900)).tag(Tag::label("city", "Paris"));
    /// cache.get_or_call_with(&key, &today, || ask(question.clone())).await?;
    /// let again = today.no_cache();
    /// let resolved = cache.get_or_call_with(&key, &again, || ask(question.clone())).await?;
    /// assert_eq!((resolved.origin, cache.stats().bypassed), (llm_core::Origin::Vendor, 1));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// The [`DirectivePolicy`](crate::DirectivePolicy) limits the directive. Expired entries are served only if the
    /// directive allows it ([`Directive::max_stale`]). No [`TtlRule`](crate::TtlRule) applies. [`Directive::shared`]
    /// has no effect, because the key alone decides which calls share an entry.
    ///
    /// # Errors
    ///
    /// The errors of [`get_or_call`](Self::get_or_call), and one of kind [`NotFound`](llm_core::ErrorKind::NotFound) if
    /// there is no entry for a directive with [`Directive::only_if_cached`].
    pub async fn get_or_call_with<T, E, F, Fut>(
        &self,
        key: &Key,
        directive: &Directive,
        call: F,
    ) -> Result<Resolved<T>, Error>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: Into<BoxError>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let cache = &self.0;
        let directive = directive.limited(&cache.directive_policy).without_stack(cache.entries.freshness.ttl.default);
        let reply = match cache.entries.peek::<Arc<T>>(key.borrowed(), &directive) {
            Found::Served(stored, stale) if !cache.is_shadow => {
                Item::stored(stored, stale).into_reply(cache, Miss::Unknown)
            }
            found => {
                let (sender, service) = Made::new();
                let mut unmade = Some((sender, call));
                let mut lead = || {
                    if let Some((sender, call)) = unmade.take() {
                        let _ = sender.send(call());
                    }
                };
                let call = Call::new(key.tenant(), Keyed::<T>::new());
                if directive.no_store {
                    lead();
                    bypass(Arc::clone(cache), service, call, directive.only_if_cached).await?
                } else {
                    let keys = CallKeys { entry: key.clone(), single_flight: key.clone() };
                    let request = Arc::new(Request::one(Arc::clone(cache), directive, call, keys));
                    respond(request, service, smallvec![found], lead).await?
                }
            }
        };
        Ok(Resolved { origin: reply.receipt.origin(), value: reply.output })
    }

    /// Returns the counters and the current size of the cache. The method completes pending evictions first, so do not
    /// call it on a hot path.
    pub fn stats(&self) -> Stats {
        let Inner { entries, counts, single_flights, .. } = &*self.0;
        let stats = entries.store.stats();
        counts.take_store(&stats, entries.store.evictions());
        let StoreStats { entries, bytes, leases: [leased, awaited, lost_leases], .. } = stats;
        let running = single_flights.count() as u64;
        Stats { leased, awaited, lost_leases, entries, bytes, running, ..counts.stats() }
    }

    /// Removes one entry, and the error of its request from the negative cache. (The error of a pinned request, or of
    /// one without fallbacks, expires by itself.) A running call for the request is not affected, so that later callers
    /// join the call, and its response is stored. To prevent both, use [`invalidate`](Self::invalidate).
    ///
    /// If the request has several responses ([`CacheBuilder::variants`](crate::CacheBuilder::variants)), only the first
    /// is removed. An entry that is shared by scope cannot be removed by its key, but can be invalidated by a tag.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file or Redis fails. The entry is then removed from memory only.
    ///
    /// ```
    /// use llm_cache::Cache;
    ///
    /// # tokio_test::block_on(async {
    /// let cache = Cache::builder("support").build()?;
    /// let key = cache.key("acme", "greet", "Hello!")?;
    /// cache.get_or_call(&key, || async { Ok::<_, std::io::Error>("Hi.".to_owned()) }).await?;
    /// cache.remove(&key).await?;
    /// assert_eq!(cache.stats().entries, 0);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        if let Some(negative_cache) = &self.0.negative_cache {
            negative_cache.remove(key);
        }
        self.0.entries.store.remove(key).await
    }

    /// Invalidates all entries with a tag at once, without visiting them. No later call gets a response with this tag
    /// whose call began before the invalidation, whether it is stored, stale or still running. In this process, the
    /// invalidation takes effect when the future is polled for the first time.
    ///
    /// The cache remembers up to 10,000 invalidated tags, and a file or Redis remembers them across restarts. The
    /// invalidation of a further tag invalidates all entries whose calls began before. Therefore use a tag for entries
    /// that change together (those of a version or a tenant). To remove a single entry, use [`remove`](Self::remove).
    ///
    /// ```
    /// use llm_cache::{Cache, Tag};
    ///
    /// # tokio_test::block_on(async {
    /// let cache = Cache::builder("support").build()?;
    /// cache.invalidate(Tag::label("prompt", "v1")).await?;
    /// cache.invalidate(Tag::model("gpt-4o-mini")).await?;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file or Redis fails to remember the invalidation.
    pub async fn invalidate(&self, tag: Tag) -> Result<(), StoreError> {
        self.0.entries.invalidate(Some(tag)).await
    }

    /// Removes all entries of a tenant from every tier, and frees their bytes. These include entries shared by scope
    /// for which the tenant paid. The method visits every entry in memory.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file or Redis fails. The tenant's entries are removed from memory in any case.
    ///
    /// ```
    /// use llm_cache::Cache;
    ///
    /// # tokio_test::block_on(async {
    /// let cache = Cache::builder("support").build()?;
    /// for tenant in ["acme", "umbrella"] {
    ///     let key = cache.key(tenant, "greet", "Hello!")?;
    ///     cache.get_or_call(&key, || async { Ok::<_, std::io::Error>("Hi.".to_owned()) }).await?;
    /// }
    /// cache.forget("acme").await?;
    /// assert_eq!(cache.stats().entries, 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn forget(&self, tenant: &str) -> Result<(), StoreError> {
        let remembered = self.invalidate(Tag::tenant(tenant)).await;
        if let Some(negative_cache) = &self.0.negative_cache {
            negative_cache.forget(tenant);
        }
        // The tenant's entries are removed from memory even if the file or Redis failed to remember the invalidation.
        remembered.and(self.0.entries.store.forget(tenant).await)
    }

    /// Removes all entries from the store, including those of other caches that share it. Running calls are completed,
    /// but their responses are not stored.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file or Redis fails.
    ///
    /// ```
    /// use llm_cache::Cache;
    ///
    /// # tokio_test::block_on(async {
    /// let cache = Cache::builder("support").build()?;
    /// let key = cache.key("acme", "greet", "Hello!")?;
    /// cache.get_or_call(&key, || async { Ok::<_, std::io::Error>("Hi.".to_owned()) }).await?;
    /// cache.clear().await?;
    /// assert_eq!(cache.stats().entries, 0);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub async fn clear(&self) -> Result<(), StoreError> {
        let remembered = self.0.entries.invalidate(None).await;
        if let Some(negative_cache) = &self.0.negative_cache {
            negative_cache.clear();
        }
        remembered.and(self.0.entries.store.clear().await)
    }

    /// Waits for at most a minute until all background calls have ended, and until all stored entries are written. With
    /// Redis, the method also waits for at most a minute until this process holds no lease, so that no other process
    /// waits for one of its calls. The cache can still be used afterwards.
    ///
    /// Call the method before the process ends:
    ///
    /// ```
    /// use llm_cache::Cache;
    ///
    /// # tokio_test::block_on(async {
    /// let cache = Cache::builder("support").build()?;
    /// // Serve.
    /// cache.close().await?;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file or Redis fails. With Redis, the error says how many leases are still held, or how
    /// many entries were not written because the cache's runtime has ended.
    pub async fn close(&self) -> Result<(), StoreError> {
        if let Some(background) = &self.0.background {
            background.idle().await;
        }
        self.0.entries.store.close().await
    }
}

impl<T> Clone for Resolved<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), origin: self.origin }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("namespace", &self.0.namespace)
            .field("freshness", &self.0.entries.freshness)
            .finish_non_exhaustive()
    }
}
