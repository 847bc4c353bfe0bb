//! Opens a store in Redis.

use std::{sync::Arc, time::Duration};

use llm_redis::Redis;

use crate::{
    StoreError, StoreUrl,
    redis_options::{LEAST_LEASE, SILENCE},
    store::{AtRest, LocalTier, Memory, RedisSettings, RedisStore},
    store_config::StoreConfig,
    url::Location,
};

/// Time-out of each step of an operation that the application itself starts, such as an invalidation.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the store of a URL, or of the handle that was given.
pub(crate) fn open_redis(url: Option<StoreUrl>, config: StoreConfig) -> Result<RedisStore, StoreError> {
    let StoreConfig { max_bytes, policy, clock, grace, secret, keys, redis_options: options } = config;
    let bytes = url.as_ref().and_then(|url| url.memory).unwrap_or(max_bytes);
    let policy = url.as_ref().and_then(|url| url.policy).unwrap_or(policy);
    let memory_ttl = url.as_ref().and_then(|url| url.memory_ttl).unwrap_or(options.memory_ttl);
    let lease = url.as_ref().and_then(|url| url.lease).unwrap_or(options.lease).max(LEAST_LEASE);
    let bound = url.as_ref().and_then(|url| url.invalidation_bound).unwrap_or(options.bound);
    let claim = url.as_ref().and_then(|url| url.claim_timeout).unwrap_or(options.claim_timeout);
    let lookup = url.as_ref().and_then(|url| url.redis_timeout).unwrap_or(options.redis_timeout);
    let operation_timeout = lookup.max(OPERATION_TIMEOUT);
    let redis = match (options.redis, url) {
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
                builder = builder.hash_secret(secret.derive("llm-cache 2026-11 names in redis v1").expose().to_vec());
            }
            builder.spawn().map_err(|error| StoreError::new("redis", error.to_string()))?
        }
        (None, _) => unreachable!("there is a handle or an address"),
    };
    let codec = AtRest::new(secret.as_ref(), keys);
    let local = LocalTier::new(Memory::new(bytes, policy), Some(memory_ttl), Arc::clone(&clock));
    RedisStore::spawn(RedisSettings { redis, codec, clock, local, grace, lease, claim, operation_timeout, bound })
}
