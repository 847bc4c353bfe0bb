//! Uses all layers together: costs, limits, cache, time-out, micro-batches and several keys, for chat, streams and
//! embeddings.
//!
//! `cargo run -p examples --bin full_stack`

use std::time::Duration;

use llm_batch::BatchLayer;
use llm_cache::{Cache, CacheLayer};
use llm_core::{BoxError, Call, ChatRequest, EmbedRequest, into_provider};
use llm_keypool::{KeyPool, Member};
use llm_providers::{Ledger, OpenAi, batch_limits, prices};
use llm_ratelimit::{Limiter, Plans, RateLimitLayer};
use llm_testkit::{Fault, Latency, RefusalKind, Rule, Vendor};
use tower::{Layer, ServiceBuilder};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // A simulated vendor in this process that refuses one of two keys. A real one: `OpenAi::new(key)?`.
    let latency = Latency::fixed(Duration::from_millis(20), Duration::ZERO);
    let vendor = Vendor::builder().latency(latency).build();
    vendor.script(Rule::new(Fault::Refused(RefusalKind::NoCredit)).key("sk-a"));
    let client = |key: &str| OpenAi::with_transport(key, vendor.transport());

    let ledger = Ledger::new(prices::openai());
    let attempts = ledger.attempts();
    let members = [("a", client("sk-a")?), ("b", client("sk-b")?)];
    let members = members.map(|(name, client)| Member::new(name, attempts.layer(client)));
    let plans = Plans::uniform(["1000/minute", "$3/day"])?;
    let stack = ServiceBuilder::new()
        .layer(ledger.requests())
        .layer(RateLimitLayer::new(Limiter::builder(plans).prices(prices::openai()).build()?))
        .layer(CacheLayer::new(Cache::builder("application").build()?))
        .timeout(Duration::from_secs(60))
        .layer(BatchLayer::new(batch_limits::openai_embeddings()).max_wait(Duration::from_millis(200)))
        .service(KeyPool::builder().members(members).build()?);
    let provider = into_provider(stack);

    let request = ChatRequest::new("gpt-4o-mini").user("Write test cases for a login form.");
    let chat = provider.chat(Call::new("acme", request.clone())).await?;
    println!("whole, by key {:?}: {}", chat.receipt.accounting().member, chat.output.text());
    let stream = provider.chat_stream(Call::new("acme", request)).await?.output;
    println!("streamed: {}", stream.complete().await?.text());
    let texts = (0..100).map(|n| EmbedRequest::new("text-embedding-3-small", [format!("position {n}")]));
    futures_util::future::try_join_all(texts.map(|text| provider.embed(Call::new("acme", text)))).await?;
    println!("{} requests for 102 calls\n{}", vendor.calls(), ledger.snapshot());
    Ok(())
}
