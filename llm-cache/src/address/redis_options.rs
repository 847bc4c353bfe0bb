//! Settings of caches that share their entries through Redis.

use std::{fmt, time::Duration};

use llm_redis::Redis;

use super::parameters::Parameters;

/// Settings of a cache that shares its entries through Redis.
///
/// Each setting except the handle can also be given as a parameter of the URL ([`StoreUrl`](crate::StoreUrl)). The
/// parameter then overrides the setting.
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
#[derive(Clone, Default)]
#[must_use]
pub struct RedisOptions {
    pub(crate) redis: Option<Redis>,
    pub(crate) parameters: Parameters,
}

impl From<Redis> for RedisOptions {
    fn from(redis: Redis) -> Self {
        Self::new().handle(redis)
    }
}

impl RedisOptions {
    /// Creates options with all defaults, for the Redis server in the cache's URL.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses an open Redis handle instead of a URL. Several caches and other layers can share the handle. A lookup waits
    /// at most for the handle's [`call_timeout`](llm_redis::RedisBuilder::call_timeout). If
    /// [`claim_timeout`](Self::claim_timeout) is longer than a second, set the handle's
    /// [`probe_timeout`](llm_redis::RedisBuilder::probe_timeout) to the same time.
    pub fn handle(mut self, redis: Redis) -> Self {
        self.redis = Some(redis);
        self
    }

    /// Sets the time for which the local tier in front of Redis keeps an entry: a minute by default. If a process
    /// [removes](crate::Cache::remove) an entry, other processes may still serve their copies of it for up to that
    /// time.
    pub fn memory_ttl(mut self, ttl: Duration) -> Self {
        self.parameters.memory_ttl = Some(ttl);
        self
    }

    /// Sets the time after which other processes no longer wait for a leader that does not renew its lease: ten seconds
    /// by default, at least a second. A leader renews its lease after each third of that time.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.parameters.lease = Some(lease);
        self
    }

    /// Sets the longest time until an invalidation by one process takes effect in all processes: one second by default.
    /// While a process looks up entries, it asks Redis for new invalidations twice in that time.
    pub fn invalidation_bound(mut self, bound: Duration) -> Self {
        self.parameters.invalidation_bound = Some(bound);
        self
    }

    /// Sets the longest time that a lookup waits for the Redis of a URL: 50 ms by default.
    ///
    /// A hit takes at most this long. A call that finds no entry then claims the lease on its request, for which
    /// [`claim_timeout`](Self::claim_timeout) is the bound.
    pub fn redis_timeout(mut self, timeout: Duration) -> Self {
        self.parameters.redis_timeout = Some(timeout);
        self
    }

    /// Sets the longest time that a call waits until Redis grants or refuses the lease on its request: one second by
    /// default. The call does not wait if Redis has been silent for a second or for this time, whichever is longer.
    ///
    /// If Redis answers a claim within this time, only one of the processes pays for a request. Otherwise each process
    /// sends and pays its own call.
    pub fn claim_timeout(mut self, timeout: Duration) -> Self {
        self.parameters.claim_timeout = Some(timeout);
        self
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}
