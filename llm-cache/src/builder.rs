use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    sync::Arc,
    time::Duration,
};

use llm_core::{Clock, SystemClock};

use crate::{
    Cache, Caps, Policy, StoreError, StoreUrl, TtlRule, UrlError,
    freshness::Freshness,
    generations::Generations,
    inner::Inner,
    opening::{Opening, open},
};
#[cfg(feature = "at-rest")]
use crate::{Keys, Secret};

/// Settings of a [`Cache`].
#[derive(Clone)]
#[must_use]
pub struct CacheBuilder {
    namespace: Arc<str>,
    freshness: Freshness,
    caps: Caps,
    max_bytes: u64,
    policy: Policy,
    max_answer_bytes: u64,
    keep: Keep,
    clock: Arc<dyn Clock>,
    url: Option<StoreUrl>,
    #[cfg(feature = "at-rest")]
    secret: Option<Secret>,
    #[cfg(feature = "at-rest")]
    keys: Option<Arc<dyn Keys>>,
}

/// What the application says of answers, by their types.
#[derive(Clone, Default)]
pub(crate) struct Keep(HashMap<TypeId, Arc<Predicate>>);

type Predicate = dyn Fn(&dyn Any) -> bool + Send + Sync;

/// Settings that make no cache.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The namespace is empty.
    #[error("the namespace is empty: name the service or the vendor whose answers these are")]
    Namespace,
    /// A time to live is zero.
    #[error("a time to live of zero stores nothing: set a longer one, or leave the cache out")]
    Ttl,
    /// The capacity is zero.
    #[error("a capacity of zero bytes stores nothing: set a larger one, or leave the cache out")]
    Capacity,
    /// The jitter is more than the whole.
    #[error("a jitter of more than 100 percent is more than the whole time to live")]
    Jitter,
    /// The address of the store is wrong.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CacheBuilder {
    pub(crate) fn new(namespace: Arc<str>) -> Self {
        let freshness = Freshness {
            rules: Vec::new(),
            ttl: Some(Duration::from_secs(24 * 3600)),
            jitter_percent: 0,
            stale_if_error: Duration::ZERO,
            max_stale: Duration::ZERO,
        };
        Self {
            namespace,
            freshness,
            caps: Caps::none(),
            max_bytes: 64 << 20,
            policy: Policy::default(),
            max_answer_bytes: u64::MAX,
            keep: Keep::default(),
            clock: Arc::new(SystemClock),
            url: None,
            #[cfg(feature = "at-rest")]
            secret: None,
            #[cfg(feature = "at-rest")]
            keys: None,
        }
    }

    /// How long an answer is fresh where no rule says otherwise: a day by default.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.freshness.ttl = Some(ttl);
        self
    }

    /// Answers are fresh for ever, or until they must make room, where no rule says otherwise.
    pub fn no_expiry(mut self) -> Self {
        self.freshness.ttl = None;
        self
    }

    /// Adds a rule. The first that fits a call counts.
    pub fn rule(mut self, rule: TtlRule) -> Self {
        self.freshness.rules.push(rule);
        self
    }

    /// Ends each answer's time early by a random share of it, up to this many percent, so that entries that were written
    /// together do not expire together. None by default.
    pub fn jitter(mut self, percent: u8) -> Self {
        self.freshness.jitter_percent = percent;
        self
    }

    /// For how long past its time an answer is served if the call that was to replace it fails because of the vendor (a
    /// limit, an overload, a failure, a time-out) or a budget. Not at all by default.
    pub fn stale_if_error(mut self, by: Duration) -> Self {
        self.freshness.stale_if_error = by;
        self
    }

    /// For how long past its time an answer is kept for calls that allow it ([`Directive::max_stale`]). Not at all by
    /// default.
    ///
    /// [`Directive::max_stale`]: crate::Directive::max_stale
    pub fn max_stale(mut self, by: Duration) -> Self {
        self.freshness.max_stale = by;
        self
    }

    /// How far calls may go with their directives: as far as they like by default.
    pub fn caps(mut self, caps: Caps) -> Self {
        self.caps = caps;
        self
    }

    /// How many bytes of answers and keys to hold: 64 MiB by default. An answer counts as the length of its JSON text,
    /// its key's bytes and a fixed amount for the entry.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Which answers go first when the memory is full: the least recently used by default.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The largest answer to store, counted as for [`max_bytes`](Self::max_bytes). By default, any that fits.
    pub fn max_answer_bytes(mut self, bytes: u64) -> Self {
        self.max_answer_bytes = bytes;
        self
    }

    /// Stores answers of type `C` only if `keep` says so, besides what the operation itself says
    /// ([`Operation::keeps`](llm_core::Operation::keeps)).
    ///
    /// ```
    /// use llm_cache::Cache;
    /// use llm_core::ChatResponse;
    ///
    /// let cache = Cache::builder("support").keep_if(|answer: &ChatResponse| !answer.text().contains("I am not sure"));
    /// # cache.build().unwrap();
    /// ```
    pub fn keep_if<C: 'static>(mut self, keep: impl Fn(&C) -> bool + Send + Sync + 'static) -> Self {
        let keep = move |answer: &dyn Any| answer.downcast_ref::<C>().is_none_or(&keep);
        self.keep.0.insert(TypeId::of::<C>(), Arc::new(keep));
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
        self.url = Some(url);
        self
    }

    /// The secret that names and checks of entries outside the process are made with. With none, who reads the store can
    /// find an answer by guessing its question, and who writes it can forge entries.
    #[cfg(feature = "at-rest")]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Seals each tenant's entries outside the process with his key (XChaCha20-Poly1305). A tenant without a key has
    /// nothing stored there.
    #[cfg(feature = "at-rest")]
    pub fn keys(mut self, keys: impl Keys) -> Self {
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

    /// Makes the cache. One with a file opens it, which takes milliseconds, and starts a thread that writes it.
    ///
    /// # Errors
    ///
    /// An empty namespace, a cache that could hold nothing, or a store that cannot be opened.
    pub fn build(self) -> Result<Cache, BuildError> {
        let Self { namespace, freshness, caps, max_bytes, policy, max_answer_bytes, keep, clock, url, .. } = self;
        if namespace.is_empty() {
            return Err(BuildError::Namespace);
        }
        let ttls = freshness.rules.iter().map(TtlRule::ttl).chain(freshness.ttl);
        if ttls.into_iter().any(|ttl| ttl.is_zero()) {
            return Err(BuildError::Ttl);
        }
        if max_bytes == 0 || max_answer_bytes == 0 {
            return Err(BuildError::Capacity);
        }
        if freshness.jitter_percent > 100 {
            return Err(BuildError::Jitter);
        }
        let opening = Opening {
            max_bytes,
            policy,
            clock: Arc::clone(&clock),
            grace: freshness.grace(),
            #[cfg(feature = "at-rest")]
            secret: self.secret,
            #[cfg(feature = "at-rest")]
            keys: self.keys,
        };
        let store = open(url, opening)?;
        let (flights, generations, counts): (_, Generations, _) = Default::default();
        generations.advance(store.latest());
        let inner =
            Inner { namespace, flights, caps, store, generations, freshness, max_answer_bytes, keep, clock, counts };
        Ok(Cache(Arc::new(inner)))
    }
}

impl Keep {
    pub(crate) fn allows<C: 'static>(&self, answer: &C) -> bool {
        self.0.get(&TypeId::of::<C>()).is_none_or(|keep| keep(answer))
    }
}

impl fmt::Debug for CacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, freshness, caps, max_bytes, .. } = self;
        let mut out = f.debug_struct("CacheBuilder");
        out.field("namespace", namespace).field("freshness", freshness).field("caps", caps);
        out.field("max_bytes", max_bytes).finish_non_exhaustive()
    }
}
