use std::{
    fmt,
    sync::{Arc, Once},
    time::Duration,
};

use llm_core::{Clock, SystemClock};

use crate::{
    BuildError, Cache, DirectivePolicy, Policy, StoreUrl, TtlRule, Verification,
    asking::Asking,
    counts::Counts,
    flight::Flights,
    freshness::Freshness,
    generations::Generations,
    inner::Inner,
    keep::Keep,
    opening::{Opening, open},
    refusal::Refusals,
    samples::Samples,
    verification::Auditor,
};
#[cfg(feature = "at-rest")]
use crate::{Keys, Secret};

/// Settings of a [`Cache`].
#[derive(Clone)]
#[must_use]
pub struct CacheBuilder {
    namespace: Arc<str>,
    freshness: Freshness,
    caps: DirectivePolicy,
    max_bytes: u64,
    policy: Policy,
    max_answer_bytes: u64,
    keep: Keep,
    clock: Arc<dyn Clock>,
    asking: Asking,
    place: Place,
    #[cfg(feature = "redis")]
    pub(crate) fleet: crate::fleet::Fleet,
    #[cfg(feature = "at-rest")]
    secret: Option<Secret>,
    #[cfg(feature = "at-rest")]
    keys: Option<Arc<dyn Keys>>,
}

/// The smallest capacity, in bytes: no entry is smaller.
pub(crate) const MIN_BYTES: u64 = 1024;

/// Where the answers are kept.
#[derive(Clone)]
enum Place {
    /// Memory of the builder's own size.
    Memory,
    Url(StoreUrl),
    /// Where another cache keeps them.
    With(Cache),
}

impl CacheBuilder {
    pub(crate) fn new(namespace: Arc<str>) -> Self {
        let freshness = Freshness {
            rules: Vec::new(),
            ttl: Some(Duration::from_secs(24 * 3600)),
            jitter_percent: 0,
            stale_if_error: Duration::ZERO,
            revalidate: Duration::ZERO,
            max_stale: Duration::ZERO,
        };
        Self {
            namespace,
            freshness,
            caps: DirectivePolicy::none(),
            max_bytes: 64 << 20,
            policy: Policy::default(),
            max_answer_bytes: 8 << 20,
            keep: Keep::default(),
            clock: Arc::new(SystemClock),
            asking: Asking { samples: 1, ..Asking::default() },
            place: Place::Memory,
            #[cfg(feature = "redis")]
            fleet: crate::fleet::Fleet::default(),
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

    /// Adds a rule. The first that fits a call counts. Rules are for calls that pass through a
    /// [`CacheLayer`](crate::CacheLayer): a key for [`Cache::get_or_call`] tells neither model nor labels, so its answers have
    /// [`ttl`](Self::ttl)'s time.
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

    /// LlmService an expired answer for this long after its time, if the call that was to replace it fails because of the vendor
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

    /// For how long past its time an answer is served while it is replaced in the background. Not at all by default.
    /// An answer to a question that may not be asked twice ([`Operation::is_repeatable`](llm_core::Operation::is_repeatable)) is
    /// served for as long, and replaced only by the call of whoever asks after that.
    ///
    /// Whoever gets it triggers the call that replaces it, unless one runs: in the name of his tenant, at
    /// [`Priority::Background`](llm_core::Priority), through the layers below. Needs
    /// [`spawn_background`](Self::spawn_background).
    pub fn stale_while_revalidate(mut self, by: Duration) -> Self {
        self.freshness.revalidate = by;
        self
    }

    /// Has calls go on in the background when their last caller has left, as long as there is room, so that the answer is
    /// stored; paid by the tenant of whoever led. Off by default: they are dropped. Needs
    /// [`spawn_background`](Self::spawn_background).
    ///
    /// A call that is shared with nobody ([`Directive::no_cache`], [`Directive::no_store`]) is dropped in any case.
    ///
    /// [`Directive::no_cache`]: crate::Directive::no_cache
    /// [`Directive::no_store`]: crate::Directive::no_store
    pub fn complete_on_disconnect(mut self) -> Self {
        self.asking.finish_abandoned = true;
        self
    }

    /// Asks a share of the hits again. Needs [`spawn_background`](Self::spawn_background).
    pub fn verify(mut self, audit: Verification) -> Self {
        self.asking.audit = Some(audit);
        self
    }

    /// Gives calls that nobody waits for a background of their own: the cache then **spawns tasks** on the tokio runtime
    /// that [`build`](Self::build) is called in, one for each such call, at most `most` at a time. What finds no room is
    /// left undone and counted ([`Stats::skipped`](crate::Stats::skipped)); a call that fails keeps its room for a second,
    /// or for as long as the vendor asked to wait, up to half a minute.
    pub fn spawn_background(mut self, most: u32) -> Self {
        self.asking.background = Some(most);
        self
    }

    /// Keeps up to `most` answers to a question that is meant to have several
    /// ([`Operation::is_sampled`](llm_core::Operation::is_sampled): a temperature above zero), and gives them out in turn. One by
    /// default. Whose turn it is is remembered for the 32,768 questions asked last.
    pub fn variants(mut self, most: u32) -> Self {
        self.asking.samples = most;
        self
    }

    /// Remembers for so long that a vendor refused a question because it is invalid or too long, so that it is not asked
    /// again and again. In memory only, and off by default. [`CacheStatus::of_error`](crate::CacheStatus::of_error) tells
    /// such an error. Requests that are answered item by item are not remembered. A time of zero is refused.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.asking.refusal_ttl = Some(ttl);
        self
    }

    /// Stores answers of models other than those asked for too. By default an answer that a lower layer says it fell back
    /// on ([`Accounting::fallback`](llm_core::layer::Accounting::fallback)) is served once and not stored.
    pub fn cache_fallbacks(mut self) -> Self {
        self.asking.keep_fallbacks = true;
        self
    }

    /// Observes only: every call goes up as it is, and its reply says what the cache would have done
    /// ([`ShadowStatus`](crate::ShadowStatus)). Answers are stored and counted as if they were served.
    pub fn shadow(mut self) -> Self {
        self.asking.observe = true;
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
    pub fn directive_policy(mut self, caps: DirectivePolicy) -> Self {
        self.caps = caps;
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

    /// Stores answers of type `C` only if `keep` says so, besides what the operation itself says
    /// ([`Operation::is_cacheable`](llm_core::Operation::is_cacheable)).
    ///
    /// ```
    /// use llm_cache::Cache;
    /// use llm_core::ChatResponse;
    ///
    /// let cache = Cache::builder("support").cache_if(|answer: &ChatResponse| !answer.text().contains("I am not sure"));
    /// # cache.build().unwrap();
    /// ```
    pub fn cache_if<C: 'static>(mut self, keep: impl Fn(&C) -> bool + Send + Sync + 'static) -> Self {
        self.keep.only_if(keep);
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
        self.place = Place::Url(url);
        self
    }

    /// Keeps the answers where another cache keeps them, each cache in its own namespace: two stacks with different vendors
    /// over one file, for example. Room, secret and keys are that cache's, its clock too, and invalidation reaches both.
    ///
    /// How long past its time an answer stays in a file or in Redis is for the longest of that cache's
    /// [`max_stale`](Self::max_stale), [`stale_if_error`](Self::stale_if_error) and
    /// [`stale_while_revalidate`](Self::stale_while_revalidate) to say: what is longer here has no effect there.
    pub fn share_store_with(mut self, cache: &Cache) -> Self {
        self.clock = Arc::clone(&cache.0.clock);
        self.place = Place::With(cache.clone());
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

    /// Makes the cache. One with a file opens it, which takes milliseconds, and starts a thread that writes it. One with Redis
    /// waits for nothing, and **spawns tasks** on the tokio runtime that this is called in, which connect and write.
    ///
    /// # Errors
    ///
    /// An empty namespace, a cache that could hold nothing (less than 1 KiB, a time to live of zero, zero
    /// [`variants`](Self::variants)), or a store that cannot be opened.
    pub fn build(self) -> Result<Cache, BuildError> {
        let Self {
            namespace, freshness, caps, max_bytes, policy, max_answer_bytes, keep, clock, asking, place, ..
        } = self;
        if namespace.is_empty() {
            return Err(BuildError::Namespace);
        }
        let ttls = freshness.rules.iter().map(TtlRule::ttl).chain(freshness.ttl).chain(asking.refusal_ttl);
        if ttls.into_iter().any(|ttl| ttl.is_zero()) {
            return Err(BuildError::Ttl);
        }
        if max_bytes.min(max_answer_bytes) < MIN_BYTES {
            return Err(BuildError::Capacity);
        }
        if asking.samples == 0 {
            return Err(BuildError::Samples);
        }
        if freshness.jitter_percent > 100 {
            return Err(BuildError::Jitter);
        }
        let background = asking.background(&freshness)?;
        let opening = Opening {
            max_bytes,
            policy,
            clock: Arc::clone(&clock),
            grace: freshness.grace(),
            #[cfg(feature = "at-rest")]
            secret: self.secret,
            #[cfg(feature = "at-rest")]
            keys: self.keys,
            #[cfg(feature = "redis")]
            fleet: self.fleet,
        };
        let (store, generations) = match place {
            Place::With(cache) => (Arc::clone(&cache.0.store), Arc::clone(&cache.0.generations)),
            Place::Memory => (open(None, opening)?, Arc::default()),
            Place::Url(url) => (open(Some(url), opening)?, Arc::<Generations>::default()),
        };
        generations.advance(store.latest());
        let counts = Arc::new(Counts::new(&namespace));
        let finish = background.clone().filter(|_| asking.finish_abandoned);
        let inner = Inner {
            namespace,
            flights: Flights::new(finish, Arc::clone(&counts)),
            caps,
            store,
            generations,
            freshness,
            max_answer_bytes,
            keep,
            clock,
            counts,
            too_large: Once::new(),
            observe: asking.observe,
            keep_fallbacks: asking.keep_fallbacks,
            background,
            audit: asking.audit.map(Auditor::new),
            samples: Samples::new(asking.samples),
            refusals: asking.refusal_ttl.map(Refusals::new),
        };
        Ok(Cache(Arc::new(inner)))
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
