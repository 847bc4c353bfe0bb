use std::{
    fmt,
    sync::{Arc, Once},
    time::Duration,
};

use llm_core::{Clock, SystemClock};

use crate::{
    Background, BuildError, Cache, DirectivePolicy, Policy, StoreUrl, Ttl,
    cache_if::CacheIf,
    counts::Counts,
    freshness::Freshness,
    inner::Inner,
    invalidation::InvalidationEpochs,
    negative_cache::NegativeCache,
    open_store::{StoreConfig, open},
    path::single_flight::SingleFlights,
    settings::Settings,
    variants::Variants,
    verification::VerificationSampler,
};
#[cfg(feature = "at-rest")]
use crate::{EncryptionKeys, Secret};

/// Settings of a [`Cache`].
#[derive(Clone)]
#[must_use]
pub struct CacheBuilder {
    namespace: Arc<str>,
    freshness: Freshness,
    directive_policy: DirectivePolicy,
    max_bytes: u64,
    policy: Policy,
    max_answer_bytes: u64,
    cache_if: CacheIf,
    clock: Arc<dyn Clock>,
    settings: Settings,
    store_choice: StoreChoice,
    #[cfg(feature = "redis")]
    pub(crate) redis_options: crate::redis_options::RedisOptions,
    #[cfg(feature = "at-rest")]
    secret: Option<Secret>,
    #[cfg(feature = "at-rest")]
    keys: Option<Arc<dyn EncryptionKeys>>,
}

/// The smallest capacity, in bytes: no entry is smaller.
pub(crate) const MIN_BYTES: u64 = 1024;

/// Where the answers are kept.
#[derive(Clone)]
enum StoreChoice {
    /// Memory of the builder's own size.
    Memory,
    Url(StoreUrl),
    /// Where another cache keeps them.
    With(Cache),
}

impl CacheBuilder {
    pub(crate) fn new(namespace: Arc<str>) -> Self {
        let freshness = Freshness {
            ttl: Ttl::new(Duration::from_secs(24 * 3600)),
            stale_if_error: Duration::ZERO,
            revalidate: Duration::ZERO,
            max_stale: Duration::ZERO,
        };
        Self {
            namespace,
            freshness,
            directive_policy: DirectivePolicy::none(),
            max_bytes: 64 << 20,
            policy: Policy::default(),
            max_answer_bytes: 8 << 20,
            cache_if: CacheIf::default(),
            clock: Arc::new(SystemClock),
            settings: Settings { variants: 1, ..Settings::default() },
            store_choice: StoreChoice::Memory,
            #[cfg(feature = "redis")]
            redis_options: crate::redis_options::RedisOptions::default(),
            #[cfg(feature = "at-rest")]
            secret: None,
            #[cfg(feature = "at-rest")]
            keys: None,
        }
    }

    /// Keeps entries fresh for this long: a day by default. A [`Ttl`] has rules for some calls, and jitter.
    pub fn ttl(mut self, ttl: impl Into<Ttl>) -> Self {
        self.freshness.ttl = ttl.into();
        self
    }

    /// Serves an expired answer for this long after its time, if the call that was to replace it fails because of the vendor
    /// (a limit, an overload, a failure, a time-out) or a budget, or if its caller's deadline passes. Not at all by default,
    /// and never by [`Cache::get_or_call`].
    ///
    /// A stream is served from the expired answer only if it fails before its first piece. After that the caller has read a
    /// part of another answer, which no stored one continues: the stream ends with the vendor's error, and what to do with
    /// the part is the caller's decision. A caller that needs a whole answer in any case asks for one that is not streamed.
    pub fn stale_if_error(mut self, by: Duration) -> Self {
        self.freshness.stale_if_error = by;
        self
    }

    /// Lets the cache make calls that no caller waits for, such as revalidations: see [`Background`]. Without this setting it
    /// makes none.
    pub fn background(mut self, background: Background) -> Self {
        self.settings.background = Some(background);
        self
    }

    /// Keeps up to `most` answers to a question that is meant to have several
    /// ([`Operation::is_sampled`](llm_core::Operation::is_sampled): a temperature above zero), and gives them out in turn. One by
    /// default. Whose turn it is is remembered for the 32,768 questions asked last.
    pub fn variants(mut self, most: u32) -> Self {
        self.settings.variants = most;
        self
    }

    /// Remembers for so long that a vendor refused a question because it is invalid or too long, so that it is not asked
    /// again and again. In memory only, and off by default. [`CacheStatus::of_error`](crate::CacheStatus::of_error) tells
    /// such an error. Requests that are answered item by item are not remembered. A time of zero is refused.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.settings.negative_ttl = Some(ttl);
        self
    }

    /// Stores answers of models other than those asked for too. By default an answer that a lower layer says it fell back
    /// on ([`Accounting::fallback`](llm_core::layer::Accounting::fallback)) is served once and not stored. A call with
    /// [`NoFallback`](llm_core::layer::NoFallback) in its extensions gets none of them.
    pub fn cache_fallbacks(mut self) -> Self {
        self.settings.cache_fallbacks = true;
        self
    }

    /// Observes only: every call goes up as it is, and its reply says what the cache would have done
    /// ([`ShadowStatus`](crate::ShadowStatus)). Answers are stored and counted as if they were served.
    pub fn shadow(mut self) -> Self {
        self.settings.shadow = true;
        self
    }

    /// How far calls may go with their directives: as far as they like by default.
    pub fn directive_policy(mut self, directive_policy: DirectivePolicy) -> Self {
        self.directive_policy = directive_policy;
        self
    }

    /// How many bytes of answers and keys to hold: 64 MiB by default, at least 1 KiB. An answer counts as the length of its
    /// JSON text, its key's bytes (4 KiB and the envelope at most: see [`Key`](crate::Key)) and a fixed amount for the entry,
    /// which is about what it allocates. This is for memory alone, that in front of Redis too: a
    /// file holds what `max_bytes` in its address says ([`StoreUrl`]), 1 GiB by default.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Which answers go first when the memory is full: the least recently used by default.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The largest answer to store, counted as for [`max_bytes`](Self::max_bytes): 8 MiB by default, at least 1 KiB. What is
    /// larger is counted ([`Stats::too_large`](crate::Stats::too_large)), and the first is logged.
    ///
    /// A stream that grows larger while it runs is held no longer for those who would join it: whoever asks then makes a
    /// call of his own, and a reader who falls as far behind the others is cut off. Here each piece counts as its text
    /// and 128 bytes.
    pub fn max_response_bytes(mut self, bytes: u64) -> Self {
        self.max_answer_bytes = bytes;
        self
    }

    /// Stores answers of type `C` only if `cache_if` says so, besides what the operation itself says
    /// ([`Operation::is_cacheable`](llm_core::Operation::is_cacheable)).
    ///
    /// ```
    /// use llm_cache::Cache;
    /// use llm_core::ChatResponse;
    ///
    /// let cache = Cache::builder("support").cache_if(|answer: &ChatResponse| !answer.text().contains("I am not sure"));
    /// # cache.build().unwrap();
    /// ```
    pub fn cache_if<C: 'static>(mut self, predicate: impl Fn(&C) -> bool + Send + Sync + 'static) -> Self {
        self.cache_if.add(predicate);
        self
    }

    /// The clock that expiry goes by; the machine's own by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Keeps the answers where an address says, such as `memory:?max_bytes=64mb` or `file:///var/cache/answers`; what it
    /// sets counts before what the builder sets. In memory by default.
    pub fn store(mut self, url: StoreUrl) -> Self {
        self.store_choice = StoreChoice::Url(url);
        self
    }

    /// Keeps the answers where another cache keeps them, each cache in its own namespace: two stacks with different vendors
    /// over one file, for example. Room, secret and keys are that cache's, its clock too, and invalidation reaches both.
    ///
    /// How long past its time an answer stays in a file or in Redis is for the longest of that cache's
    /// [`DirectivePolicy::max_stale`], [`stale_if_error`](Self::stale_if_error) and
    /// [`Background::revalidate`] to say: what is longer here has no effect there.
    pub fn share_store_with(mut self, cache: &Cache) -> Self {
        self.clock = Arc::clone(&cache.0.clock);
        self.store_choice = StoreChoice::With(cache.clone());
        self
    }

    /// The secret that names and checks of entries outside the process are made with. With none, who reads the store can
    /// find an answer by guessing its question, and who writes it can forge entries.
    #[cfg(feature = "at-rest")]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Seals each tenant's entries outside the process with his key, and what is shared with that of its scope
    /// (XChaCha20-Poly1305). Whoever has no key has nothing stored there.
    #[cfg(feature = "at-rest")]
    pub fn encryption_keys(mut self, keys: impl EncryptionKeys) -> Self {
        self.keys = Some(Arc::new(keys));
        self
    }

    /// Makes the cache with the store of an address: see [`StoreUrl`].
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
    /// As of [`build`](Self::build), and if the address is wrong.
    pub fn open(self, url: &str) -> Result<Cache, BuildError> {
        let url = url.parse()?;
        self.store(url).build()
    }

    /// Makes the cache. One with a file opens it, which takes milliseconds, and starts a thread that writes it. One with Redis
    /// waits for nothing, and **spawns tasks** on the tokio runtime that this is called in, which connect and write.
    ///
    /// # Errors
    ///
    /// An empty namespace, a cache that could hold nothing (less than 1 KiB, a time to live of zero, zero
    /// [`variants`](Self::variants)), or a store that cannot be opened.
    pub fn build(self) -> Result<Cache, BuildError> {
        self.check()?;
        let Self {
            namespace,
            mut freshness,
            directive_policy,
            max_bytes,
            policy,
            max_answer_bytes,
            cache_if,
            clock,
            settings,
            store_choice,
            ..
        } = self;
        freshness.max_stale = directive_policy.max_stale;
        freshness.revalidate = settings.background.as_ref().map_or(Duration::ZERO, |background| background.revalidate);
        let background = settings.tasks()?;
        let config = StoreConfig {
            max_bytes,
            policy,
            clock: Arc::clone(&clock),
            grace: freshness.grace(),
            #[cfg(feature = "at-rest")]
            secret: self.secret,
            #[cfg(feature = "at-rest")]
            keys: self.keys,
            #[cfg(feature = "redis")]
            redis_options: self.redis_options,
        };
        let (store, epochs) = match store_choice {
            StoreChoice::With(cache) => (Arc::clone(&cache.0.store), Arc::clone(&cache.0.epochs)),
            StoreChoice::Memory => (open(None, config)?, Arc::default()),
            StoreChoice::Url(url) => (open(Some(url), config)?, Arc::<InvalidationEpochs>::default()),
        };
        epochs.advance(store.latest());
        let counts = Arc::new(Counts::new(&namespace));
        let completes = settings.background.as_ref().is_some_and(|settings| settings.complete_on_disconnect);
        let finish = background.clone().filter(|_| completes);
        let inner = Inner {
            namespace,
            single_flights: SingleFlights::new(finish, Arc::clone(&counts)),
            directive_policy,
            store,
            epochs,
            freshness,
            max_answer_bytes,
            cache_if,
            clock,
            counts,
            too_large: Once::new(),
            is_shadow: settings.shadow,
            cache_fallbacks: settings.cache_fallbacks,
            background,
            verification: settings.background.and_then(|settings| settings.verification).map(VerificationSampler::new),
            variants: Variants::new(settings.variants),
            negative_cache: settings.negative_ttl.map(NegativeCache::new),
        };
        Ok(Cache(Arc::new(inner)))
    }

    /// Refuses settings with which nothing would be stored.
    fn check(&self) -> Result<(), BuildError> {
        if self.namespace.is_empty() {
            return Err(BuildError::Namespace);
        }
        if self.freshness.ttl.all().chain(self.settings.negative_ttl).any(|ttl| ttl.is_zero()) {
            return Err(BuildError::Ttl);
        }
        if self.max_bytes.min(self.max_answer_bytes) < MIN_BYTES {
            return Err(BuildError::Capacity);
        }
        if self.settings.variants == 0 {
            return Err(BuildError::Variants);
        }
        if self.freshness.ttl.jitter_percent > 100 {
            return Err(BuildError::Jitter);
        }
        Ok(())
    }
}

impl fmt::Debug for CacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, freshness, directive_policy, max_bytes, .. } = self;
        let mut out = f.debug_struct("CacheBuilder");
        out.field("namespace", namespace).field("freshness", freshness).field("directive_policy", directive_policy);
        out.field("max_bytes", max_bytes).finish_non_exhaustive()
    }
}
