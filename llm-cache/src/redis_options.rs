//! Settings of caches that share their entries through Redis.

use std::{fmt, time::Duration};

use llm_redis::Redis;

use crate::parameters::Parameters;

/// Settings of a cache that shares its entries through Redis.
///
/// Each also has a parameter of the URL ([`StoreUrl`](crate::StoreUrl)), which comes first.
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
        self.parameters.memory_ttl = Some(ttl);
        self
    }

    /// Sets how long the other processes wait for a leader that does not renew its lease: ten seconds by default, a
    /// second at least. A leader renews its lease each third of that time.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.parameters.lease = Some(lease);
        self
    }

    /// Sets how soon no process serves what one of them has invalidated: one second by default. A process that looks
    /// entries up asks Redis twice in that time for new invalidations.
    pub fn invalidation_bound(mut self, bound: Duration) -> Self {
        self.parameters.invalidation_bound = Some(bound);
        self
    }

    /// Sets the longest that a lookup waits for the Redis of a URL: 50 ms by default.
    ///
    /// This is all that a hit can cost. A call that finds no entry then claims the lease on its request, which has a
    /// bound of its own: [`claim_timeout`](Self::claim_timeout).
    pub fn redis_timeout(mut self, timeout: Duration) -> Self {
        self.parameters.redis_timeout = Some(timeout);
        self
    }

    /// Sets the longest that a call waits until Redis grants or refuses the lease on its request: one second by
    /// default. It waits only while Redis is available: not at all once Redis has been silent for a second or for this
    /// time, whichever is longer.
    ///
    /// If Redis answers a claim within this time, the processes pay for a request once. If it does not, each pays for
    /// itself.
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
