//! Stores, opened as their URLs say.

use std::{sync::Arc, time::Duration};

use llm_core::Clock;

#[cfg(feature = "file")]
use crate::store::{AtRest, FileSettings, FileStore, LocalTier, Tiered};
#[cfg(feature = "at-rest")]
use crate::{EncryptionKeys, Secret};
use crate::{
    Policy, StoreError, StoreUrl,
    store::{Memory, Store},
    url::Location,
};

/// Settings of a store besides its URL.
#[cfg_attr(not(any(feature = "file", feature = "redis")), expect(dead_code, reason = "memory needs less"))]
pub(crate) struct StoreConfig {
    pub(crate) max_bytes: u64,
    pub(crate) policy: Policy,
    pub(crate) clock: Arc<dyn Clock>,
    /// Time for which an expired entry can be of use.
    pub(crate) grace: Duration,
    #[cfg(feature = "at-rest")]
    pub(crate) secret: Option<Secret>,
    #[cfg(feature = "at-rest")]
    pub(crate) keys: Option<Arc<dyn EncryptionKeys>>,
    #[cfg(feature = "redis")]
    pub(crate) redis_options: crate::redis_options::RedisOptions,
}

/// Capacity of a file whose URL has none, in bytes.
#[cfg(feature = "file")]
const FILE_BYTES: u64 = 1 << 30;

/// Opens the store of a URL; memory without one.
pub(crate) fn open(url: Option<StoreUrl>, config: StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    #[cfg(feature = "redis")]
    if config.redis_options.is_given() || matches!(&url, Some(StoreUrl { location: Location::Redis(_), .. })) {
        let redis_options = config.redis_options.clone();
        return Ok(Arc::new(redis_options.open(url, config)?));
    }
    let Some(url) = url else { return Ok(Arc::new(Memory::new(config.max_bytes, config.policy))) };
    let policy = url.policy.unwrap_or(config.policy);
    match url.location {
        Location::Memory => Ok(Arc::new(Memory::new(url.max_bytes.unwrap_or(config.max_bytes), policy))),
        #[cfg(feature = "file")]
        Location::File(path) => {
            let StoreConfig { clock, grace, secret, keys, .. } = config;
            let codec = AtRest::new(secret.as_ref(), keys);
            let max_bytes = url.max_bytes.unwrap_or(FILE_BYTES);
            let file = FileStore::open(FileSettings { path, max_bytes, codec, clock: Arc::clone(&clock), grace })?;
            Ok(match url.memory.filter(|bytes| *bytes > 0) {
                None => Arc::new(file),
                Some(bytes) => {
                    let local = LocalTier::new(Memory::new(bytes, policy), url.memory_ttl, clock);
                    Arc::new(Tiered::new(local, Arc::new(file)))
                }
            })
        }
        #[cfg(feature = "redis")]
        Location::Redis(_) => unreachable!("it was opened before"),
        #[cfg(not(feature = "file"))]
        Location::File(_) => unreachable!("no such address is read without the feature"),
    }
}
