//! Settings of a store in addition to its URL, and their defaults.

use std::{sync::Arc, time::Duration};

use llm_core::{Clock, SystemClock};

use crate::EvictionPolicy;
#[cfg(feature = "at-rest")]
use crate::{EncryptionKeys, Secret};

/// Settings of a store in addition to its URL.
#[derive(Clone)]
pub(crate) struct StoreConfig {
    /// Capacity of a store in memory, or of the local tier of Redis, in bytes, unless the URL states it.
    pub(crate) max_bytes: u64,
    /// Eviction policy of a store in memory or of a local tier, unless the URL states it.
    pub(crate) policy: EvictionPolicy,
    /// Clock by which entries expire.
    pub(crate) clock: Arc<dyn Clock>,
    /// Time after its expiry for which a stale entry can still be served.
    pub(crate) grace: Duration,
    #[cfg(feature = "at-rest")]
    pub(crate) secret: Option<Secret>,
    #[cfg(feature = "at-rest")]
    pub(crate) keys: Option<Arc<dyn EncryptionKeys>>,
    #[cfg(feature = "redis")]
    pub(crate) redis_options: crate::RedisOptions,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            policy: EvictionPolicy::default(),
            clock: Arc::new(SystemClock),
            grace: Duration::ZERO,
            #[cfg(feature = "at-rest")]
            secret: None,
            #[cfg(feature = "at-rest")]
            keys: None,
            #[cfg(feature = "redis")]
            redis_options: crate::RedisOptions::default(),
        }
    }
}
