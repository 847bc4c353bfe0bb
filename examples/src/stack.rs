//! The recommended stack: the books above, what saves in between, the books of attempts and the client below.

use std::{sync::Arc, time::Duration};

use llm_batch::pack::{Check, PackLayer};
use llm_cache::{Cache, CacheLayer, Ttl};
use llm_core::{BoxError, Clock, Provider, erase, into_provider, price::PriceTable};
use llm_providers::{Ledger, OpenAi};
use tower::{Layer, ServiceBuilder};

/// Bounds of what the cache keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Time to live; `None` for no end.
    pub ttl: Option<Duration>,
    /// Size of the answers in memory, in bytes.
    pub max_bytes: u64,
}

/// Parts of a stack that save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savers {
    /// The cache; `None` for a stack without it.
    pub cache: Option<Keeping>,
    /// Prompts of a packed request; `None` for a stack without packing.
    pub pack: Option<usize>,
}

impl Default for Keeping {
    /// All, without an end: a run then shows how often questions repeat.
    fn default() -> Self {
        Self { ttl: None, max_bytes: 4 << 30 }
    }
}

impl From<Keeping> for Savers {
    fn from(keeping: Keeping) -> Self {
        Self { cache: Some(keeping), pack: None }
    }
}

/// Builds the stack on a client.
///
/// # Errors
///
/// A cache that keeps nothing.
pub fn build(
    client: OpenAi,
    ledger: &Ledger,
    prices: PriceTable,
    clock: impl Clock,
    savers: Savers,
) -> Result<Arc<dyn Provider>, BoxError> {
    let attempts = ServiceBuilder::new().timeout(Duration::from_secs(60)).load_shed().layer(ledger.attempts());
    let mut stack = erase(attempts.service(client));
    if let Some(prompts) = savers.pack {
        // One prompt in fifty is asked alone, too, and one answer in twenty may differ.
        let pack = PackLayer::new(Check::new(0.02, 0.05)).start_size(prompts).max_size(prompts);
        stack = erase(pack.prices(prices).layer(stack));
    }
    if let Some(Keeping { ttl, max_bytes }) = savers.cache {
        let cache = Cache::builder("test-generation").max_bytes(max_bytes).clock(clock);
        let cache = cache.ttl(ttl.map_or(Ttl::unlimited(), Ttl::from)).build()?;
        stack = erase(CacheLayer::new(cache).layer(stack));
    }
    Ok(into_provider(ledger.requests().layer(stack)))
}
