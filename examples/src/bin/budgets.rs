//! Shows plans with budgets, alerts as a budget is used up, a change of plan, and a time to live by kind of call.
//!
//! `cargo run -p examples --bin budgets`

use std::time::Duration;

use llm_cache::{Cache, CacheLayer, CacheStatus, Ttl, TtlRule};
use llm_core::{BoxError, Call, ChatRequest, ManualClock, into_provider};
use llm_providers::{OpenAi, prices};
use llm_ratelimit::{Event, Limiter, RateLimitLayer};

const HOUR: Duration = Duration::from_secs(3600);
const PLANS: &str = r#"{
    "default": "free", "limits": ["$500/month"],
    "plans": {"free": {"limits": ["$0.0001/day"]}, "pro": {"limits": ["100/minute", "$3/day"]}}
}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // A simulated vendor in this process. A real one: `OpenAi::new(key)?`.
    let vendor = llm_testkit::Vendor::builder().response_tokens(20..=20).build();
    let client = OpenAi::with_transport("no-real-key", vendor.transport())?;

    // Pass events on from here; `Webhook` posts them to Slack or Telegram.
    let alert = |event: &Event| println!("alert: {}", event.text());
    let clock = ManualClock::default();
    let limiter = Limiter::builder(serde_json::from_str(PLANS)?).prices(prices::openai()).sink(alert);
    let limiter = limiter.clock(clock.clone()).build()?;
    let ttl = Ttl::new(24 * HOUR).rule(TtlRule::new(HOUR).label("feature", "news"));
    let cache = Cache::builder("support").ttl(ttl).clock(clock.clone()).build()?;
    let layers = tower::ServiceBuilder::new().layer(CacheLayer::new(cache)).layer(RateLimitLayer::new(limiter.clone()));
    let provider = into_provider(layers.service(client));
    let send = async |feature: &str, n: u32| {
        let request = ChatRequest::new("gpt-4o-mini").user(format!("{feature} {n}")).max_output_tokens(24);
        let reply = provider.chat(Call::new("acme", request).with_label("feature", feature)?).await;
        match reply {
            Ok(reply) => println!("{feature} {n}: {}", CacheStatus::of(&reply)),
            Err(refused) => println!("{feature} {n}: {refused}"),
        }
        Ok::<_, BoxError>(())
    };
    for n in 0..9 {
        send("news", n).await?;
    }
    limiter.set_plan("acme", "pro")?;
    send("chat", 0).await?;
    clock.advance(2 * HOUR);
    send("chat", 0).await?;
    send("news", 0).await
}
