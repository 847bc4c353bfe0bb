//! Recommended stack: the requests layer of a ledger, the layers that save, the attempts layer, and the client.

use std::{sync::Arc, time::Duration};

use llm_batch::pack::{Check, PackLayer};
use llm_cache::{Cache, CacheLayer, Ttl};
use llm_core::{BoxError, Clock, Provider, erase, into_provider, price::PriceTable};
use llm_providers::{Ledger, OpenAi};
use tower::{Layer, ServiceBuilder};

/// Settings of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Time to live; `None` for entries that do not expire.
    pub ttl: Option<Duration>,
    /// Capacity of the memory, in bytes.
    pub max_bytes: u64,
}

/// Layers of a stack that save money or requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavingLayers {
    /// Settings of the cache; `None` for a stack without a cache.
    pub cache: Option<CacheSettings>,
    /// Largest number of prompts in a packed request; `None` for a stack without packing.
    pub pack: Option<usize>,
}

impl Default for CacheSettings {
    /// No entry expires, so that a run shows how often requests repeat.
    fn default() -> Self {
        Self { ttl: None, max_bytes: 4 << 30 }
    }
}

impl From<CacheSettings> for SavingLayers {
    fn from(cache_settings: CacheSettings) -> Self {
        Self { cache: Some(cache_settings), pack: None }
    }
}

/// Builds the stack on a client.
///
/// # Errors
///
/// The settings of the cache allow it to store nothing.
pub fn build(
    client: OpenAi,
    ledger: &Ledger,
    prices: PriceTable,
    clock: impl Clock,
    saving_layers: SavingLayers,
) -> Result<Arc<dyn Provider>, BoxError> {
    let attempts = ServiceBuilder::new().timeout(Duration::from_secs(60)).load_shed().layer(ledger.attempts());
    let mut stack = erase(attempts.service(client));
    if let Some(prompts) = saving_layers.pack {
        // One prompt in fifty is also sent alone, and one response in twenty may differ.
        let pack = PackLayer::new(Check::new(0.02, 0.05)).start_size(prompts).max_size(prompts);
        stack = erase(pack.prices(prices).layer(stack));
    }
    if let Some(CacheSettings { ttl, max_bytes }) = saving_layers.cache {
        let cache = Cache::builder("test-generation").max_bytes(max_bytes).clock(clock);
        let cache = cache.ttl(ttl.map_or(Ttl::unlimited(), Ttl::from)).build()?;
        stack = erase(CacheLayer::new(cache).layer(stack));
    }
    Ok(into_provider(ledger.requests().layer(stack)))
}
