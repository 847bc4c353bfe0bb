//! Opening of a store in Redis.

use std::{sync::Arc, time::Duration};

use llm_redis::Redis;

use super::{config::StoreConfig, url::Location};
use crate::{
    StoreError, StoreUrl,
    store::{AtRest, LocalTier, Memory, RedisSettings, RedisStore},
};

/// Shortest timeout of each command of an operation that the application itself starts, such as an invalidation.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Shortest time without a reply after which the server counts as unavailable, and default timeout of a claim.
const SILENCE: Duration = Duration::from_secs(1);

/// Shortest time to live of a lease that can be set. It is not shorter than the interval at which waiters look for the
/// response.
const LEAST_LEASE: Duration = Duration::from_secs(1);

/// Shortest timeout or invalidation bound that can be set.
const LEAST: Duration = Duration::from_millis(1);

/// Longest duration of a setting. Longer ones are shortened to it, because an `Instant` cannot represent the end of
/// every duration.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Opens the Redis store over the handle in the options, or at the URL if the options have no handle. Parameters of the
/// URL override those of the options.
pub(crate) fn open_redis(url: StoreUrl, config: StoreConfig) -> Result<RedisStore, StoreError> {
    let StoreConfig { max_bytes, policy, clock, grace, secret, keys, redis_options } = config;
    let set = url.parameters.or(redis_options.parameters);
    let lease = set.lease.unwrap_or(Duration::from_secs(10)).clamp(LEAST_LEASE, LONGEST);
    let bound = set.invalidation_bound.unwrap_or(Duration::from_secs(1)).clamp(LEAST, LONGEST);
    let claim = set.claim_timeout.unwrap_or(SILENCE).clamp(LEAST, LONGEST);
    let lookup = set.redis_timeout.unwrap_or(Duration::from_millis(50)).clamp(LEAST, LONGEST);
    let operation_timeout = lookup.max(OPERATION_TIMEOUT);
    let redis = match (redis_options.redis, url.location) {
        (Some(redis), _) => redis,
        (None, Location::Redis(address)) => {
            let silence = claim.max(SILENCE);
            let builder = Redis::builder(&*address).call_timeout(lookup);
            let builder = builder.connect_timeout(silence).probe_timeout(silence);
            let mut builder = builder.instance("llm-cache");
            if let Some(prefix) = set.prefix {
                builder = builder.prefix(&*prefix);
            }
            if let Some(secret) = &secret {
                builder = builder.hash_secret(secret.derive("llm-cache 2026-11 names in redis v1").expose().to_vec());
            }
            builder.spawn().map_err(|error| StoreError::new("redis", error.to_string()))?
        }
        (None, _) => unreachable!("there is a handle or a URL"),
    };
    let codec = AtRest::new(secret.as_ref(), keys);
    let memory = Memory::new(set.memory.unwrap_or(max_bytes), set.policy.unwrap_or(policy));
    let memory_ttl = set.memory_ttl.unwrap_or(Duration::from_secs(60));
    let local = LocalTier::new(memory, Some(memory_ttl), Arc::clone(&clock));
    RedisStore::spawn(RedisSettings { redis, codec, clock, local, grace, lease, claim, operation_timeout, bound })
}
