//! Stack of the application. A layer that a step does not use yet is in shadow mode, in which it counts and changes
//! nothing.

use std::{sync::Arc, time::Duration};

use llm_batch::BatchLayer;
use llm_cache::{Cache, CacheLayer, Ttl, TtlRule};
use llm_core::{BoxError, Provider, erase, into_provider};
use llm_keypool::{KeyPool, Member};
use llm_providers::{Anthropic, Ledger, OpenAi, batch_limits, prices};
use llm_ratelimit::{Limiter, RateLimitLayer, Webhook};
use llm_testkit::Vendor;
use tower::{Layer, ServiceBuilder};

use crate::virtual_time::VirtualClock;

/// Model that drafts, and its fallback at the second vendor.
pub const MODELS: [&str; 2] = ["gpt-4o-mini", "claude-haiku-4-5"];
/// Plans with their quotas of proposals, a budget for heavy work, and a budget for everything, which sends alerts.
const PLANS: &str = r#"{
    "default": "free", "limits": ["$5/month"],
    "plans": {
        "free": {"limits": ["5 proposals/month for label kind=proposal"]},
        "pro": {"limits": ["10 proposals/day for label kind=proposal", "$0.001/day for label kind=digest"], "weight": 2},
        "unlimited": {"limits": ["$0.0015/day for label kind=digest"], "weight": 4}
    }
}"#;
const MINUTE: Duration = Duration::from_secs(60);

/// Steps, each with the layers of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A single vendor.
    Nothing,
    /// A cache with a time to live by kind of call: 15 minutes, an hour, a day.
    Cache,
    /// Micro-batches of texts to embed.
    Batches,
    /// Quotas, budgets and alerts.
    Plans,
    /// A second vendor responds while the first one cannot.
    SecondVendor,
}

/// Builds the stack of a step in front of two vendors, with its limiter and its ledger.
///
/// # Errors
///
/// A layer refuses its settings.
pub fn build(
    step: Step,
    [first, second]: &[Vendor; 2],
    alerts: Arc<Webhook>,
    clock: VirtualClock,
) -> Result<(Arc<dyn Provider>, Limiter, Ledger), BoxError> {
    let ledger = Ledger::new(prices::all());
    let openai = ledger.attempts().layer(erase(OpenAi::with_transport("sk-a", first.transport())?));
    let pool = KeyPool::builder().clock(clock).seed(1).max_wait(Duration::from_secs(5));
    let mut pool = pool.member(Member::new("openai", openai));
    if step >= Step::SecondVendor {
        let claude = ledger.attempts().layer(erase(Anthropic::with_transport("sk-b", second.transport())?));
        pool = pool.member(Member::new("anthropic", claude).tier(1).stands_in(MODELS[0], MODELS[1]));
    }
    let limiter = Limiter::builder(serde_json::from_str(PLANS)?).unit("proposal").prices(prices::all()).clock(clock);
    let limiter = if step >= Step::Plans { limiter.sink(alerts) } else { limiter.shadow() }.build()?;
    let ttl = Ttl::new(60 * MINUTE)
        .rule(TtlRule::new(15 * MINUTE).label("kind", "summary"))
        .rule(TtlRule::new(24 * 60 * MINUTE).label("kind", "proposal"))
        .rule(TtlRule::new(24 * 60 * MINUTE).operation("embed"));
    let cache = Cache::builder("tenders").ttl(ttl).clock(clock);
    let cache = if step >= Step::Cache { cache } else { cache.shadow() }.build()?;
    let batches = BatchLayer::new(batch_limits::openai_embeddings());
    let stack = ServiceBuilder::new()
        .layer(ledger.requests())
        .layer(CacheLayer::new(cache))
        .layer(RateLimitLayer::new(limiter.clone()).fallback_models(MODELS[0], [MODELS[1]]))
        .layer(if step >= Step::Batches { batches } else { batches.shadow() })
        .service(pool.build()?);
    Ok((into_provider(stack), limiter, ledger))
}
