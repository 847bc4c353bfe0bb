//! Settings of a cache, and their defaults.
//!
//! The builder collects settings. [`CacheBuilder::build`] checks them, opens the store and builds the cache, so that a
//! wrong setting is a [`BuildError`] before the first call.

use std::{fmt, sync::Arc, time::Duration};

use llm_core::{Clock, layer::Accounting};

use crate::{
    Background, BuildError, Cache, DirectivePolicy, EvictionPolicy, StoreUrl, Ttl,
    address::MIN_BYTES,
    address::StoreConfig,
    address::open,
    entries::{Admission, Entries},
    inner::Inner,
    observe::Counts,
    path::single_flight::SingleFlights,
    policy::{Freshness, NegativeCache, Variants, VerificationSampler},
};
#[cfg(feature = "at-rest")]
use crate::{EncryptionKeys, Secret};

/// Settings of a [`Cache`]. [`Cache::builder`] creates it; [`build`](Self::build) or [`open`](Self::open) builds the
/// cache.
///
/// ```
/// use std::time::Duration;
/// use llm_cache::Cache;
///
/// let cache = Cache::builder("support")
///     .ttl(Duration::from_secs(7 * 24 * 3600))
///     .stale_if_error(Duration::from_secs(24 * 3600))
///     .max_bytes(256 << 20)
///     .build()?;
/// # Ok::<_, llm_cache::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct CacheBuilder {
    namespace: Arc<str>,
    ttl: Ttl,
    stale_if_error: Duration,
    background: Option<Background>,
    variants: u32,
    negative_ttl: Option<Duration>,
    shadow: bool,
    directive_policy: DirectivePolicy,
    admission: Admission,
    store: StoreUrl,
    /// Cache whose store is used instead of that of `store`; `None` if no store is shared.
    shared_with: Option<Cache>,
    store_config: StoreConfig,
}

impl Cache {
    /// Returns the builder of a cache. The namespace separates the cache's entries from others in the same store, such
    /// as those of another service, another vendor or another version of the prompts.
    pub fn builder(namespace: impl Into<Arc<str>>) -> CacheBuilder {
        CacheBuilder::new(namespace.into())
    }
}

impl CacheBuilder {
    pub(crate) fn new(namespace: Arc<str>) -> Self {
        Self {
            namespace,
            ttl: Ttl::new(Duration::from_secs(24 * 3600)),
            stale_if_error: Duration::ZERO,
            background: None,
            variants: 1,
            negative_ttl: None,
            shadow: false,
            directive_policy: DirectivePolicy::none(),
            admission: Admission { max_bytes: 8 << 20, ..Admission::default() },
            store: StoreUrl::memory(),
            shared_with: None,
            store_config: StoreConfig::default(),
        }
    }

    /// Sets the time to live of entries: a day by default. A [`Ttl`] can have rules for some calls, and jitter.
    pub fn ttl(mut self, ttl: impl Into<Ttl>) -> Self {
        self.ttl = ttl.into();
        self
    }

    /// Sets the time after its expiry for which an entry is served instead of an error. This happens if the call that
    /// should replace the entry fails because of the vendor (a limit, an overload, a failure, a timeout) or a budget,
    /// or its caller's deadline passes. Off by default, and without effect on [`Cache::get_or_call`].
    ///
    /// A stream is served from the expired entry only if it fails before its first piece. After that the caller has
    /// read a part of the new response, which the entry does not continue. The stream then ends with the vendor's
    /// error, and the caller decides what to do with the part that it has read. A caller that always needs a complete
    /// response should send a call that is not streamed.
    ///
    /// The reply reports that the entry is stale:
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_cache::{Cache, CacheLayer, CacheStatus, Directive, Stale};
    /// use llm_core::{Call, ChatRequest, Error, ErrorKind, ManualClock, into_provider};
    /// use llm_providers::scripted::{Rule, Scripted};
    ///
    /// # tokio_test::block_on(async {
    /// let (hour, clock) = (Duration::from_secs(3600), ManualClock::default());
    /// let cache = Cache::builder("support").ttl(hour).stale_if_error(24 * hour).clock(clock.clone()).build()?;
    /// let vendor = Scripted::new().rule(Rule::say("Yes.").times(1)).rule(Rule::fail(Error::new(ErrorKind::Server, "down")));
    /// let provider = into_provider(tower::ServiceBuilder::new().layer(CacheLayer::new(cache)).service(vendor));
    /// let call = || Call::new("acme", ChatRequest::new("gpt-4o-mini").user("Are you open?"));
    /// provider.chat(call()).await?;
    /// clock.advance(2 * hour);
    /// let reply = provider.chat(call()).await?;
    /// assert!(matches!(CacheStatus::of(&reply), CacheStatus::Hit { stale: Some(Stale::Error), .. }));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn stale_if_error(mut self, by: Duration) -> Self {
        self.stale_if_error = by;
        self
    }

    /// Lets the cache send calls without a waiting caller, such as revalidations: see [`Background`]. Without this
    /// setting, the cache sends no such calls.
    pub fn background(mut self, background: Background) -> Self {
        self.background = Some(background);
        self
    }

    /// Sets the number of responses to keep for a request that asks for varied responses
    /// ([`Operation::is_sampled`](llm_core::Operation::is_sampled): a temperature above zero). They are served round
    /// robin. One by default. The cache remembers the next response of up to 32,768 requests. A request beyond these
    /// begins again with its first response.
    ///
    /// ```
    /// use llm_cache::Cache;
    ///
    /// let cache = Cache::builder("slogans").variants(5).build()?;
    /// # Ok::<_, llm_cache::BuildError>(())
    /// ```
    pub fn variants(mut self, most: u32) -> Self {
        self.variants = most;
        self
    }

    /// Turns the negative cache on. For this time, the cache remembers that a vendor refused a request because the
    /// request is invalid or too long, and does not send the same request again. Off by default; zero is a
    /// [`BuildError`].
    ///
    /// The negative cache is in memory only. Its errors cost nothing, and
    /// [`CacheStatus::of_error`](crate::CacheStatus::of_error) recognizes them. Errors of requests that are divided
    /// into items are not remembered.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_cache::Cache;
    ///
    /// let cache = Cache::builder("support").negative_ttl(Duration::from_secs(60)).build()?;
    /// # Ok::<_, llm_cache::BuildError>(())
    /// ```
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = Some(ttl);
        self
    }

    /// Stores responses of fallback models too. By default a response that a lower layer reports as one of a fallback
    /// model ([`Accounting::fallback`](llm_core::layer::Accounting::fallback)) is served once and not stored. A call
    /// with [`NoFallback`](llm_core::layer::NoFallback) in its extensions is served no response of a fallback model.
    pub fn cache_fallbacks(mut self) -> Self {
        self.admission.cache_fallbacks = true;
        self
    }

    /// Turns shadow mode on: every call is sent unchanged, and its reply reports what the cache would have done
    /// ([`ShadowStatus`](crate::ShadowStatus)). Responses are stored, and statistics are counted, as if entries were
    /// served.
    ///
    /// ```
    /// use llm_cache::{Cache, CacheLayer, ShadowStatus};
    /// use llm_core::{Call, ChatRequest, into_provider};
    /// # use llm_providers::scripted::Scripted;
    ///
    /// # tokio_test::block_on(async {
    /// # let client = Scripted::new();
    /// let cache = Cache::builder("support").shadow().build()?;
    /// let provider = into_provider(tower::ServiceBuilder::new().layer(CacheLayer::new(cache.clone())).service(client));
    /// let reply = provider.chat(Call::new("acme", ChatRequest::new("gpt-4o-mini").user("Hello!"))).await?;
    /// let shadow = reply.extensions.get::<ShadowStatus>().expect("the cache is in shadow mode");
    /// println!("would have been: {}", shadow.status);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn shadow(mut self) -> Self {
        self.shadow = true;
        self
    }

    /// Limits the directives of calls. By default calls may use all of them, except stale entries and sharing: see
    /// [`DirectivePolicy`].
    pub fn directive_policy(mut self, directive_policy: DirectivePolicy) -> Self {
        self.directive_policy = directive_policy;
        self
    }

    /// Sets the capacity for entries in memory, in bytes: 64 MiB by default, at least 1 KiB. The size of an entry is
    /// that of its response, its key (at most 4 KiB and the envelope: see [`Key`](crate::Key)) and a fixed amount,
    /// together about the memory that it allocates.
    ///
    /// The setting applies to a store in memory, and to the local tier of Redis. The capacity of a file is set by
    /// `max_bytes` in its URL ([`StoreUrl`]), 1 GiB by default.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.store_config.max_bytes = bytes;
        self
    }

    /// Sets the eviction policy of a store in memory or of a local tier: least recently used by default.
    pub fn eviction_policy(mut self, policy: EvictionPolicy) -> Self {
        self.store_config.policy = policy;
        self
    }

    /// Sets the size of the largest response to store, measured as for [`max_bytes`](Self::max_bytes): 8 MiB by
    /// default, at least 1 KiB. Larger responses are not stored. They are counted
    /// ([`Stats::too_large`](crate::Stats::too_large)), and the first is logged.
    ///
    /// A stream that grows larger while it runs is closed to new waiters. Later callers then send calls of their own,
    /// and a reader that falls behind the others by more pieces than were buffered at that time gets an error in place
    /// of the rest. Each piece of a stream counts its text and 128 bytes.
    ///
    /// ```
    /// use llm_cache::Cache;
    ///
    /// # tokio_test::block_on(async {
    /// let cache = Cache::builder("support").max_response_bytes(1024).build()?;
    /// let key = cache.key("acme", "essay", "Write an essay.")?;
    /// cache.get_or_call(&key, || async { Ok::<_, std::io::Error>("word ".repeat(1000)) }).await?;
    /// assert_eq!((cache.stats().too_large, cache.stats().entries), (1, 0));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn max_response_bytes(mut self, bytes: u64) -> Self {
        self.admission.max_bytes = bytes;
        self
    }

    /// Stores and serves responses of type `C` only if `predicate` returns `true` for the response and its accounting.
    /// The operation's own condition ([`Operation::is_cacheable`](llm_core::Operation::is_cacheable)) applies too.
    ///
    /// The predicate is called before a response is stored, and at each lookup that finds one, because another cache
    /// may have stored it. An entry that it refuses is a miss.
    ///
    /// ```
    /// use llm_cache::Cache;
    /// use llm_core::ChatResponse;
    ///
    /// let cache = Cache::builder("support").cache_if(|response: &ChatResponse, accounting| {
    ///     !accounting.packed && !response.text().contains("I am not sure")
    /// });
    /// # cache.build().unwrap();
    /// ```
    pub fn cache_if<C: 'static>(mut self, predicate: impl Fn(&C, &Accounting) -> bool + Send + Sync + 'static) -> Self {
        self.admission.cache_if.add(predicate);
        self
    }

    /// Sets the clock by which entries expire: the system clock by default. Tests advance a
    /// [`ManualClock`](llm_core::ManualClock) instead of waiting.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_cache::Cache;
    /// use llm_core::ManualClock;
    ///
    /// # tokio_test::block_on(async {
    /// let (hour, clock) = (Duration::from_secs(3600), ManualClock::default());
    /// let cache = Cache::builder("support").ttl(hour).clock(clock.clone()).build()?;
    /// let key = cache.key("acme", "greet", "Hello!")?;
    /// for _ in 0..2 {
    ///     cache.get_or_call(&key, || async { Ok::<_, std::io::Error>("Hi.".to_owned()) }).await?;
    ///     clock.advance(2 * hour);
    /// }
    /// assert_eq!(cache.stats().misses, 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.store_config.clock = Arc::new(clock);
        self
    }

    /// Stores entries in the store of a URL, such as `memory:?max_bytes=64mb` or `file:///var/cache/answers`.
    /// Parameters of the URL override the builder's settings. In memory by default.
    pub fn store(mut self, url: StoreUrl) -> Self {
        (self.store, self.shared_with) = (url, None);
        self
    }

    /// Stores entries in the store of another cache, for example if two stacks for different vendors use one file. Each
    /// cache has its own namespace. Capacity, secret, keys and clock are those of the other cache, and an invalidation
    /// by either reaches both.
    ///
    /// A file or Redis keeps an expired entry for the longest of that cache's [`DirectivePolicy::max_stale`],
    /// [`stale_if_error`](Self::stale_if_error) and [`Background::revalidate`]. Longer times of this cache have no
    /// effect there.
    ///
    /// ```
    /// use llm_cache::Cache;
    ///
    /// let support = Cache::builder("support").build()?;
    /// let sales = Cache::builder("sales").share_store_with(&support).build()?;
    /// # Ok::<_, llm_cache::BuildError>(())
    /// ```
    pub fn share_store_with(mut self, cache: &Cache) -> Self {
        self.store_config.clock = Arc::clone(&cache.0.entries.clock);
        self.shared_with = Some(cache.clone());
        self
    }

    /// Sets the options of a Redis store. The capacity of its local tier is [`max_bytes`](Self::max_bytes). A
    /// [`Redis`](llm_redis::Redis) handle, alone or in the options, is used as the store, whatever the URL. Without a
    /// handle the options have effect only with a URL of Redis.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, redis: impl Into<crate::RedisOptions>) -> Self {
        self.store_config.redis_options = redis.into();
        self
    }

    /// Sets the secret for the names and checksums of entries outside the process. Without a secret, a reader of the
    /// store can find the response to a request that it guesses, and a writer can forge entries.
    #[cfg(feature = "at-rest")]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.store_config.secret = Some(secret);
        self
    }

    /// Seals each tenant's entries outside the process with the tenant's key, and shared entries with the key of their
    /// scope (XChaCha20-Poly1305). Entries of a tenant without a key are stored only in memory: see [`EncryptionKeys`].
    ///
    /// ```
    /// use llm_cache::{Cache, KeyRing, Partition, Secret};
    ///
    /// let keys = KeyRing::new();
    /// keys.insert(Partition::tenant("acme"), Secret::new([7; 32]));
    /// let cache = Cache::builder("support").secret(Secret::new([1; 32])).encryption_keys(keys).build()?;
    /// # Ok::<_, llm_cache::BuildError>(())
    /// ```
    #[cfg(feature = "at-rest")]
    pub fn encryption_keys(mut self, keys: impl EncryptionKeys) -> Self {
        self.store_config.keys = Some(Arc::new(keys));
        self
    }

    /// Builds the cache with the store of a URL: see [`StoreUrl`].
    ///
    /// ```
    /// use llm_cache::Cache;
    ///
    /// let url = std::env::var("LLM_CACHE_URL").unwrap_or_else(|_| "memory:?max_bytes=64mb".to_owned());
    /// let cache = Cache::builder("test-cases").open(&url)?;
    /// # Ok::<_, llm_cache::BuildError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`build`](Self::build), and [`BuildError::Url`] if the URL is wrong.
    pub fn open(self, url: &str) -> Result<Cache, BuildError> {
        let url = url.parse()?;
        self.store(url).build()
    }

    /// Builds the cache. For a file, the method opens the file, which takes milliseconds, and **starts a thread** that
    /// writes to it. For Redis, the method does not wait, and **spawns tasks** on the current tokio runtime, which
    /// connect and write.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if the namespace is empty, if the cache could hold nothing (less than 1 KiB, a time to live of
    /// zero, zero [`variants`](Self::variants)), or if the store cannot be opened.
    pub fn build(self) -> Result<Cache, BuildError> {
        self.check()?;
        let Self { namespace, ttl, stale_if_error, background, directive_policy, mut store_config, .. } = self;
        let freshness = Freshness {
            ttl,
            stale_if_error,
            revalidate: background.as_ref().map_or(Duration::ZERO, |background| background.revalidate),
            max_stale: directive_policy.max_stale,
        };
        let counts = Arc::new(Counts::new(&namespace));
        let tasks = background.as_ref().map(|background| background.tasks(&counts)).transpose()?;
        let finish = tasks.clone().filter(|_| background.as_ref().is_some_and(|it| it.complete_on_disconnect));
        store_config.grace = freshness.grace();
        let clock = Arc::clone(&store_config.clock);
        let store = match self.shared_with {
            Some(cache) => cache.0.entries.shared(),
            None => (open(self.store, store_config)?, Arc::default()),
        };
        let inner = Inner {
            namespace,
            entries: Entries::new(store, freshness, self.admission, clock, Arc::clone(&counts)),
            single_flights: SingleFlights::new(finish),
            negative_cache: self.negative_ttl.map(NegativeCache::new),
            variants: Variants::new(self.variants),
            background: tasks,
            verification: background.and_then(|background| background.verification).map(VerificationSampler::new),
            directive_policy,
            is_shadow: self.shadow,
            counts,
        };
        Ok(Cache(Arc::new(inner)))
    }

    /// Returns an error for an empty namespace, a jitter above 100 %, and settings with which the cache would store
    /// nothing.
    fn check(&self) -> Result<(), BuildError> {
        let rules = [
            (self.namespace.is_empty(), BuildError::Namespace),
            (self.ttl.all().chain(self.negative_ttl).any(|ttl| ttl.is_zero()), BuildError::Ttl),
            (self.store_config.max_bytes.min(self.admission.max_bytes) < MIN_BYTES, BuildError::Capacity),
            (self.variants == 0, BuildError::Variants),
            (self.ttl.jitter_percent > 100, BuildError::Jitter),
        ];
        rules.into_iter().find(|(is_broken, _)| *is_broken).map_or(Ok(()), |(_, error)| Err(error))
    }
}

impl fmt::Debug for CacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, ttl, directive_policy, store_config, .. } = self;
        let mut out = f.debug_struct("CacheBuilder");
        out.field("namespace", namespace).field("ttl", ttl).field("directive_policy", directive_policy);
        out.field("max_bytes", &store_config.max_bytes).finish_non_exhaustive()
    }
}
