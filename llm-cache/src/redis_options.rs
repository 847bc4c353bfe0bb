//! Settings of caches that share their entries through Redis.

use std::{fmt, sync::Arc, time::Duration};

use llm_redis::Redis;

use crate::{
    CacheBuilder, StoreError, StoreUrl,
    open_store::StoreConfig,
    store::{AtRest, LocalTier, Memory, RedisSettings, RedisStore},
    url::Location,
};

/// Settings of a cache that shares its entries through Redis.
///
/// Each also has a parameter of the address ([`StoreUrl`]), which comes first.
///
/// ```
/// use std::time::Duration;
/// use llm_cache::{Cache, RedisOptions};
///
/// # tokio_test::block_on(async {
/// let redis = RedisOptions::new().lease(Duration::from_secs(30)).memory_ttl(Duration::from_secs(5));
/// let cache = Cache::builder("support").redis(redis).open("redis://127.0.0.1/")?;
/// # Ok::<_, llm_cache::BuildError>(()) }).unwrap();
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisOptions {
    redis: Option<Redis>,
    memory_ttl: Duration,
    lease: Duration,
    bound: Duration,
    redis_timeout: Duration,
    claim_timeout: Duration,
}

/// A Redis URL without our parameters. It is shown without user and password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisUrl(pub(crate) Arc<str>);

/// Silence for which a server does not count as unavailable, however short the time-outs are.
const SILENCE: Duration = Duration::from_secs(1);

/// Time-out of each step of an operation that the application itself starts, such as an invalidation.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Shortest lease. Waiters check no more often.
const LEAST_LEASE: Duration = Duration::from_secs(1);

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            redis: None,
            memory_ttl: Duration::from_secs(60),
            lease: Duration::from_secs(10),
            bound: Duration::from_secs(1),
            redis_timeout: Duration::from_millis(50),
            claim_timeout: SILENCE,
        }
    }
}

impl CacheBuilder {
    /// Shares entries through Redis as these options say, with memory of [`max_bytes`](Self::max_bytes) in front of it. A
    /// [`Redis`] handle instead of options comes with the default ones, and takes the place of the store of an address.
    pub fn redis(mut self, redis: impl Into<RedisOptions>) -> Self {
        self.redis_options = redis.into();
        self
    }
}

impl From<Redis> for RedisOptions {
    fn from(redis: Redis) -> Self {
        Self::new().handle(redis)
    }
}

impl RedisOptions {
    /// Creates the default options, for the Redis of the cache's address.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses a Redis that is open already instead of the store of an address. Several caches and other layers can share the
    /// handle. A look-up waits for it at most for its [`call_timeout`](llm_redis::RedisBuilder::call_timeout). With a
    /// [`claim_timeout`](Self::claim_timeout) of more than a second, give the handle as long a
    /// [`probe_timeout`](llm_redis::RedisBuilder::probe_timeout).
    pub fn handle(mut self, redis: Redis) -> Self {
        self.redis = Some(redis);
        self
    }

    /// Keeps entries in the local tier in front of Redis for this long: a minute by default. An entry that one process
    /// [removes](crate::Cache::remove) may be served by the others for as long.
    pub fn memory_ttl(mut self, ttl: Duration) -> Self {
        self.memory_ttl = ttl;
        self
    }

    /// Sets how long the other processes wait for a leader that does not renew its lease: ten seconds by default, a
    /// second at least. A leader renews its lease each third of that time.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(LEAST_LEASE);
        self
    }

    /// Sets how soon no process serves what one of them has invalidated: one second by default. A process that looks
    /// entries up asks Redis twice in that time for new invalidations.
    pub fn invalidation_bound(mut self, bound: Duration) -> Self {
        self.bound = bound.max(Duration::from_millis(1));
        self
    }

    /// Sets the longest that a lookup waits for the Redis of a URL: 50 ms by default.
    ///
    /// This is all that a hit can cost. A call that finds no entry then claims the lease on its request, which has a
    /// bound of its own: [`claim_timeout`](Self::claim_timeout).
    pub fn redis_timeout(mut self, timeout: Duration) -> Self {
        self.redis_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// Sets the longest that a call waits until Redis grants or refuses the lease on its request: one second by
    /// default. It waits only while Redis is available: not at all once Redis has been silent for a second or for this
    /// time, whichever is longer.
    ///
    /// If Redis answers a claim within this time, the processes pay for a request once. If it does not, each pays for
    /// itself.
    pub fn claim_timeout(mut self, timeout: Duration) -> Self {
        self.claim_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// Opens the store of a URL, or of the handle that was given.
    pub(crate) fn open(self, url: Option<StoreUrl>, config: StoreConfig) -> Result<RedisStore, StoreError> {
        let StoreConfig { max_bytes, policy, clock, grace, secret, keys, .. } = config;
        let bytes = url.as_ref().and_then(|url| url.memory).unwrap_or(max_bytes);
        let policy = url.as_ref().and_then(|url| url.policy).unwrap_or(policy);
        let memory_ttl = url.as_ref().and_then(|url| url.memory_ttl).unwrap_or(self.memory_ttl);
        let lease = url.as_ref().and_then(|url| url.lease).unwrap_or(self.lease).max(LEAST_LEASE);
        let bound = url.as_ref().and_then(|url| url.invalidation_bound).unwrap_or(self.bound);
        let claim = url.as_ref().and_then(|url| url.claim_timeout).unwrap_or(self.claim_timeout);
        let lookup = url.as_ref().and_then(|url| url.redis_timeout).unwrap_or(self.redis_timeout);
        let operation_timeout = lookup.max(OPERATION_TIMEOUT);
        let redis = match (self.redis, url) {
            (Some(redis), _) => redis,
            (None, Some(StoreUrl { location: Location::Redis(address), prefix, .. })) => {
                let silence = claim.max(SILENCE);
                let builder = Redis::builder(&*address.0).call_timeout(lookup);
                let builder = builder.connect_timeout(silence).probe_timeout(silence);
                let mut builder = builder.instance("llm-cache");
                if let Some(prefix) = prefix {
                    builder = builder.prefix(&*prefix);
                }
                if let Some(secret) = &secret {
                    builder =
                        builder.hash_secret(secret.derive("llm-cache 2026-11 names in redis v1").expose().to_vec());
                }
                builder.spawn().map_err(|error| StoreError::new("redis", error.to_string()))?
            }
            (None, _) => unreachable!("there is a handle or an address"),
        };
        let codec = AtRest::new(secret.as_ref(), keys);
        let local = LocalTier::new(Memory::new(bytes, policy), Some(memory_ttl), Arc::clone(&clock));
        RedisStore::spawn(RedisSettings { redis, codec, clock, local, grace, lease, claim, operation_timeout, bound })
    }

    /// True if there is a handle.
    pub(crate) fn is_given(&self) -> bool {
        self.redis.is_some()
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RedisOptions");
        out.field("lease", &self.lease).field("memory_ttl", &self.memory_ttl).finish_non_exhaustive()
    }
}

/// The URL with stars for user and password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or((&self.0, ""));
        match rest.rsplit_once('@') {
            Some((_, hosts)) => write!(f, "{scheme}://***@{hosts}"),
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}
