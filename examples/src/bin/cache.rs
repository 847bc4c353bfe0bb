//! Uses the cache alone: equal calls make one request, whole or streamed, now or later.
//!
//! `cargo run -p examples --bin cache`

use std::time::Duration;

use futures_util::future::try_join_all;
use llm_cache::{Cache, CacheLayer, Tag};
use llm_core::{BoxError, Call, ChatRequest, into_provider};
use llm_providers::OpenAi;
use llm_testkit::Vendor;
use tower::ServiceBuilder;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // A simulated vendor in this process. A real one: `OpenAi::new(key)?`.
    let vendor = Vendor::new();
    let client = OpenAi::with_transport("no-real-key", vendor.transport())?;

    let cache = Cache::builder("test-cases").ttl(Duration::from_secs(7 * 24 * 3600)).build()?;
    let provider = into_provider(ServiceBuilder::new().layer(CacheLayer::new(cache.clone())).service(client));

    let request = ChatRequest::new("gpt-4o-mini").user("Write test cases for a login form.");
    let call = |tenant: &str| Call::new(tenant, request.clone());

    try_join_all((0..100).map(|_| provider.chat(call("acme")))).await?;
    println!("100 equal calls at once: {} request", vendor.calls());

    let stream = provider.chat_stream(call("acme")).await?.output;
    println!("streamed from the entry: {}", stream.complete().await?.text());

    provider.chat(call("another tenant")).await?;
    println!("another tenant has entries of its own: {} requests", vendor.calls());

    cache.invalidate(Tag::tenant("acme")).await?;
    provider.chat(call("acme")).await?;
    println!("after an invalidation: {} requests, {} hits", vendor.calls(), cache.stats().hits);
    Ok(())
}
