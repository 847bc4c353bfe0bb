//! Settings of accounts in Redis.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use llm_redis::Redis;
use tokio::{runtime::Handle, time::Instant};

use super::{
    RedisAccounts, RedisError,
    outage::LocalShare,
    outbox::renew,
    settings::{OutagePolicy, Settings},
    shared::Shared,
};
use crate::{Limit, store::RedisAddress};

/// Settings of [`RedisAccounts`], returned by [`RedisAccounts::builder`].
#[must_use]
pub struct RedisAccountsBuilder {
    redis: Redis,
    instances: NonZeroU32,
    allow_eviction: bool,
    settings: Settings,
}

/// Timeout of each command that opens or lists accounts at an address. It does not bound decisions. If no connection
/// can be opened, the command fails earlier, when the client's breaker opens.
const OPENING: Duration = Duration::from_secs(10);

/// Longest duration of a setting. A longer duration is replaced by this one, because it could exceed the range of the
/// clock.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

impl RedisAccounts {
    /// Creates the settings of accounts on a server that `instances` processes share. During an outage, the number
    /// decides the share of each process.
    pub fn builder(redis: Redis, instances: NonZeroU32) -> RedisAccountsBuilder {
        RedisAccountsBuilder::new(redis, instances)
    }

    /// Opens accounts at an address, with the settings given as its parameters.
    pub(crate) async fn open(address: RedisAddress) -> Result<Self, RedisError> {
        let RedisAddress { url, instances, prefix, lease, decision_timeout } = address;
        let mut redis = Redis::builder(url).instance("llm-ratelimit").call_timeout(OPENING);
        if let Some(prefix) = prefix {
            redis = redis.prefix(prefix);
        }
        let redis = redis.spawn().map_err(|error| RedisError::Server(error.to_string()))?;
        let mut builder = Self::builder(redis, instances);
        if let Some(time) = lease {
            builder = builder.lease(time);
        }
        if let Some(time) = decision_timeout {
            builder = builder.decision_timeout(time);
        }
        builder.open().await
    }
}

impl RedisAccountsBuilder {
    fn new(redis: Redis, instances: NonZeroU32) -> Self {
        let settings = Settings { parts: 2 * u64::from(instances.get()), ..Settings::default() };
        Self { redis, instances, allow_eviction: false, settings }
    }

    /// Sets the time for which a reservation keeps its concurrency slots without renewal: 10 s by default. A process
    /// renews its reservations three times in this period. If the process is killed, other processes get its slots
    /// after this time.
    pub fn lease(mut self, time: Duration) -> Self {
        self.settings.lease = time.clamp(Duration::from_millis(30), LONGEST);
        self
    }

    /// Sets the timeout of a decision: 500 ms by default. It includes the wait for the connection, also if more
    /// decisions are in flight than [`RedisBuilder::max_in_flight`](llm_redis::RedisBuilder::max_in_flight) allows.
    pub fn decision_timeout(mut self, time: Duration) -> Self {
        self.settings.decision_timeout = time.min(LONGEST);
        self
    }

    /// Sets the largest number of settlements that may wait for an acknowledgement: 8,192 by default. If more are
    /// added, the amounts that they would return count as spent.
    pub fn max_settlements(mut self, settlements: usize) -> Self {
        self.settings.outbox = settlements.max(1);
        self
    }

    /// Chooses which limits of which tenants are decided from chunks: none by default. Limits that tenants share are
    /// always decided from chunks.
    ///
    /// A chunk is a part of a limit that a process leases, and from which it decides without a round trip. Its size
    /// follows the rate of the process's calls, up to half of the free amount divided by the number of instances, or to
    /// what its running calls need.
    /// Chunks never admit more than the limit allows. A nearly exhausted limit may refuse too early, by at most the
    /// amount that other processes have leased and do not use. Unused amounts are returned after a third of the
    /// [lease](Self::lease).
    ///
    /// ```
    /// use std::num::NonZeroU32;
    ///
    /// use llm_ratelimit::{RedisAccounts, llm_redis::Redis};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redis = Redis::builder("redis://127.0.0.1:1").spawn()?;
    /// // The limits of one busy tenant.
    /// let instances = NonZeroU32::new(4).ok_or("zero")?;
    /// let builder = RedisAccounts::builder(redis, instances).chunked(|_, tenant| tenant == "acme");
    /// # let _ = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn chunked(mut self, is_chunked: impl Fn(&Limit, &str) -> bool + Send + Sync + 'static) -> Self {
        self.settings.is_chunked = Arc::new(is_chunked);
        self
    }

    /// Sets the function that chooses the policy of each limit during an outage. By default, limits by calendar window
    /// refuse, and all others use a [`LocalShare`](OutagePolicy::LocalShare). The function is called for each limit of
    /// each call during an outage.
    pub fn on_outage(mut self, policy: impl Fn(&Limit) -> OutagePolicy + Send + Sync + 'static) -> Self {
        self.settings.policy = Arc::new(policy);
        self
    }

    /// Keeps all accounts under one hash tag, so that one script decides by all of them, and each decision can be
    /// compared with that of accounts in memory.
    #[cfg(test)]
    pub(super) fn one_tag(mut self) -> Self {
        self.settings.has_one_tag = true;
        self
    }

    /// Accepts a server that evicts keys when its memory is full, and logs a warning. An evicted account is forgotten,
    /// so its tenant may spend its limits again.
    pub fn allow_eviction(mut self) -> Self {
        self.allow_eviction = true;
        self
    }

    /// Checks that the server does not evict keys, and **spawns a task** on the current runtime, which renews
    /// reservations until the limiter is dropped. Each settlement is sent by a task of its own. While calls wait for
    /// room in an account, another task listens for announcements of room.
    ///
    /// # Errors
    ///
    /// A [`RedisError`], whose text says what happened and what to do.
    pub async fn open(self) -> Result<RedisAccounts, RedisError> {
        let runtime = Handle::try_current().map_err(|_| RedisError::NoRuntime)?;
        let policies = self.redis.eviction_policies().await.map_err(|error| RedisError::Server(error.to_string()))?;
        if let Some(policy) = policies.into_iter().find(|policy| policy != "noeviction") {
            if !self.allow_eviction {
                return Err(RedisError::Evicts(policy));
            }
            tracing::warn!(
                policy,
                "redis evicts keys, and so forgets spent amounts: set maxmemory-policy to noeviction"
            );
        }
        let lease = self.settings.lease;
        let shared = Arc::new(Shared::new(self.redis, self.settings, runtime.clone()));
        runtime.spawn(renew(Arc::downgrade(&shared), lease));
        Ok(RedisAccounts { shared, local: LocalShare::new(self.instances.get()) })
    }
}

impl Drop for RedisAccounts {
    fn drop(&mut self) {
        self.return_chunks();
        // Queued settlements are retried for a while after the limiter is dropped.
        let _ = self.shared.ends_at.set(Instant::now() + LAST_TRIES);
    }
}

/// Time for which queued settlements are retried after the limiter has been dropped.
const LAST_TRIES: Duration = Duration::from_secs(5);

impl fmt::Debug for RedisAccountsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAccountsBuilder").field("redis", &self.redis).finish_non_exhaustive()
    }
}
