//! Stack of the application. A layer that a step does not use yet is in shadow mode.

use std::{sync::Mutex, time::Duration};

use llm_batch::pack::{Check, PackLayer};
use llm_cache::{Cache, CacheLayer};
use llm_core::{BoxError, Tasks, into_provider, into_service, layer::LlmService};
use llm_keypool::{Group, KeyPool, Member, requests_per_minute};
use llm_providers::{Ledger, OpenAi, prices};
use llm_ratelimit::{Limiter, RateLimitLayer, Waiting};
use llm_testkit::Vendor;
use tower::{Layer, ServiceBuilder};

use super::uploads::KEYS;
use crate::packers::photos::{Photos, ScorePhoto};
use crate::{random::Random, virtual_time::VirtualClock};

/// Plans of the customers, with the number of analyses a minute.
const PLANS: &str = r#"{
    "default": "basic",
    "plans": {"basic": {"limits": ["5/minute"]}, "pro": {"limits": ["10/minute"], "weight": 2}, "unlimited": {}}
}"#;

/// Steps, each with the layers of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A single key.
    Nothing,
    /// Four keys of one organisation, paced by its limit.
    Pool,
    /// A cache, so that each photo is scored once.
    Cache,
    /// Limits on analyses a minute by plan.
    Plans,
    /// Packs of twenty photos.
    Packing,
    /// Emergency settings by the operator during the spike.
    Emergency,
}

/// Builds the stack of a step, with its limiter and its ledger.
///
/// # Errors
///
/// A layer refuses its settings.
pub fn build(
    step: Step,
    vendor: &Vendor,
    limit: u64,
    clock: VirtualClock,
) -> Result<(impl LlmService<ScorePhoto> + use<>, Limiter, Ledger), BoxError> {
    let (ledger, random) = (Ledger::new(prices::openai()), Mutex::new(Random::new(1)));
    let client = |key: &str| OpenAi::with_transport(key, vendor.transport());
    let mut vendor_side = into_provider(ledger.attempts().layer(client(KEYS[0])?));
    if step >= Step::Pool {
        let group = Group::new("organisation").limit("gpt-4o-mini", requests_per_minute(limit));
        let mut pool = KeyPool::builder().group(group).clock(clock).seed(1).max_waiting(100_000);
        for key in KEYS {
            pool = pool.member(Member::new(&key[3..], ledger.attempts().layer(client(key)?)).group("organisation"));
        }
        vendor_side = into_provider(pool.build()?);
    }
    let photos = if step >= Step::Packing { 20 } else { 1 };
    let pack =
        PackLayer::new(Check::new(0.02, 0.05)).packer(Photos).prices(prices::openai()).max_wait(Duration::from_secs(2));
    let pack = pack.start_size(photos).max_size(photos).random(move || random.lock().map_or(0, |mut r| r.next_u64()));
    let waiting = Waiting::at_most(Duration::from_secs(60)).max_tokens(u64::MAX).max_calls(100_000);
    let limiter = Limiter::builder(serde_json::from_str(PLANS)?).waiting(waiting).clock(clock);
    let limiter = if step >= Step::Plans { limiter } else { limiter.shadow() }.build()?;
    let cache = Cache::builder("photos").ttl(Duration::from_secs(30 * 86_400)).clock(clock);
    let cache = if step >= Step::Cache { cache } else { cache.shadow() }.build()?;
    let stack = ServiceBuilder::new()
        .layer(ledger.requests())
        .layer(CacheLayer::new(cache))
        .layer(RateLimitLayer::new(limiter.clone()))
        .layer_fn(Tasks::new)
        .layer(pack)
        .service(into_service(vendor_side));
    Ok((stack, limiter, ledger))
}
