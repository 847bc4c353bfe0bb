//! Opening of stores by their URLs.
//!
//! Only this file chooses a store by its URL. Parameters of the URL override settings of the builder.

use std::sync::Arc;

use super::{config::StoreConfig, url::Location};
#[cfg(feature = "file")]
use crate::store::{AtRest, FileSettings, FileStore, LocalTier, Tiered};
use crate::{
    StoreError, StoreUrl,
    store::{Memory, Store},
};

/// Capacity of a file in bytes, if the URL does not state it.
#[cfg(feature = "file")]
const FILE_BYTES: u64 = 1 << 30;

/// Opens the Redis store over the handle in `config`, or the store of the URL if `config` has no handle.
///
/// # Errors
///
/// [`StoreError`] if a file cannot be opened, if a Redis URL cannot be parsed, or if a Redis store is opened outside a
/// tokio runtime.
pub(crate) fn open(url: StoreUrl, config: StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    #[cfg(feature = "redis")]
    if config.redis_options.redis.is_some() || matches!(url.location, Location::Redis(_)) {
        return Ok(Arc::new(super::open_redis::open_redis(url, config)?));
    }
    let StoreUrl { location, parameters } = url;
    let policy = parameters.policy.unwrap_or(config.policy);
    match location {
        Location::Memory => Ok(Arc::new(Memory::new(parameters.max_bytes.unwrap_or(config.max_bytes), policy))),
        #[cfg(feature = "file")]
        Location::File(path) => {
            let StoreConfig { clock, grace, secret, keys, .. } = config;
            let codec = AtRest::new(secret.as_ref(), keys);
            let max_bytes = parameters.max_bytes.unwrap_or(FILE_BYTES);
            let file = FileStore::open(FileSettings { path, max_bytes, codec, clock: Arc::clone(&clock), grace })?;
            Ok(match parameters.memory.filter(|bytes| *bytes > 0) {
                None => Arc::new(file),
                Some(bytes) => {
                    let local = LocalTier::new(Memory::new(bytes, policy), parameters.memory_ttl, clock);
                    Arc::new(Tiered::new(local, Arc::new(file)))
                }
            })
        }
        #[cfg(feature = "redis")]
        Location::Redis(_) => unreachable!("it was opened before"),
        #[cfg(not(feature = "file"))]
        Location::File(_) => unreachable!("no such URL is parsed without the feature"),
    }
}
