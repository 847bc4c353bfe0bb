//! Stack of the fleet, in which each step adds a layer in front of the simulated vendor.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use llm_batch::pack::{Check, PackLayer};
use llm_cache::{Cache, CacheLayer};
use llm_core::{BoxError, Provider, into_provider, into_service};
use llm_keypool::{Group, KeyPool, Member, requests_per_minute};
use llm_providers::{Ledger, OpenAi, prices};
use llm_ratelimit::{Limiter, Plans, RateLimitLayer, Waiting};
use llm_testkit::Vendor;
use tower::Layer;

use super::drive::{KEY_LIMIT, MODEL};
use crate::{random::Random, virtual_time::VirtualClock};

/// Layers of the stack.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Time to live of entries; `None` for no cache.
    pub cache: Option<Duration>,
    /// Requests a minute that each organisation may send; `None` for no limits.
    pub limit: Option<u32>,
    /// Largest number of prompts in a packed request; `None` for no packing.
    pub pack: Option<usize>,
    /// Number of keys, each of a separate account; `None` for one key without a pool.
    pub keys: Option<u32>,
}

/// Builds the stack and its ledger.
///
/// # Errors
///
/// A layer refuses its settings.
pub fn build(of: &Settings, vendor: &Vendor, clock: VirtualClock) -> Result<(Arc<dyn Provider>, Ledger), BoxError> {
    let ledger = Ledger::new(prices::openai());
    let client = |key: u32| OpenAi::with_transport(format!("sk-{key}"), vendor.transport());
    let mut provider = match of.keys {
        None => into_provider(ledger.attempts().layer(client(0)?)),
        Some(keys) => {
            let mut pool =
                KeyPool::builder().clock(clock).seed(1).max_wait(Duration::from_secs(60)).max_waiting(100_000);
            for key in 0..keys {
                let (name, limit) = (format!("key-{key}"), requests_per_minute(KEY_LIMIT));
                pool = pool.group(Group::new(&*name).limit(MODEL, limit));
                pool = pool.member(Member::new(&*name, ledger.attempts().layer(client(key)?)).group(name));
            }
            into_provider(pool.build()?)
        }
    };
    if let Some(limit) = of.limit {
        let plans = Plans::uniform([format!("{limit}/minute").as_str()])?;
        // The requests of a large change are background work, which can wait.
        let waiting = Waiting::at_most(Duration::from_secs(900)).max_calls(100_000).max_tokens(1_000_000_000);
        let limiter = Limiter::builder(plans).waiting(waiting).clock(clock).build()?;
        provider = into_provider(RateLimitLayer::new(limiter).layer(into_service(provider)));
    }
    if let Some(prompts) = of.pack {
        let random = Mutex::new(Random::new(1));
        let draw = move || random.lock().unwrap_or_else(PoisonError::into_inner).next_u64();
        let pack =
            PackLayer::new(Check::new(0.02, 0.05)).start_size(prompts).max_size(prompts).prices(prices::openai());
        provider = into_provider(pack.random(draw).layer(into_service(provider)));
    }
    if let Some(ttl) = of.cache {
        let cache = Cache::builder("test-cases").ttl(ttl).max_bytes(4 << 30).clock(clock).build()?;
        provider = into_provider(CacheLayer::new(cache).layer(into_service(provider)));
    }
    Ok((into_provider(ledger.requests().layer(into_service(provider))), ledger))
}
