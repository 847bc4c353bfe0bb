//! Errors of tower's own layers in the README's stack, over the simulated vendor in virtual time.

use std::{sync::Arc, time::Duration};

use llm_cache::{Cache, CacheLayer};
use llm_providers::{
    Ledger, OpenAi,
    llm_core::{Call, Charge, ChatRequest, Error, ErrorKind, ManualClock, Provider, into_provider},
    prices,
};
use llm_testkit::{Fault, Rule, Vendor};

const TTL: Duration = Duration::from_secs(60);

/// Returns the README's stack over the simulated vendor, in which entries may be stale for an hour.
fn stack(vendor: &Vendor, clock: &ManualClock) -> Arc<dyn Provider> {
    let cache = Cache::builder("test-cases").ttl(TTL).stale_if_error(60 * TTL).clock(clock.clone()).build();
    let ledger = Ledger::new(prices::openai());
    let stack = tower::ServiceBuilder::new()
        .layer(ledger.requests())
        .layer(CacheLayer::new(cache.expect("the settings agree")))
        .timeout(Duration::from_secs(30))
        .layer(ledger.attempts())
        .service(OpenAi::with_transport("no-real-key", vendor.transport()).expect("the key is a header value"));
    into_provider(stack)
}

async fn ask(provider: &dyn Provider) -> Result<String, Error> {
    let request = ChatRequest::new("gpt-4o-mini").user("Write test cases for a login form.");
    Ok(provider.chat(Call::new("acme", request)).await?.output.text().into_owned())
}

#[tokio::test(start_paused = true)]
async fn tower_timeout_has_unknown_charge() {
    let vendor = Vendor::new();
    vendor.script(Rule::new(Fault::NoResponse));
    let error = ask(&*stack(&vendor, &ManualClock::default())).await.expect_err("the vendor does not answer");
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Timeout, Charge::Unknown), "{error}");
}

#[tokio::test(start_paused = true)]
async fn stale_if_error_serves_entry_on_tower_timeout() {
    let (vendor, clock) = (Vendor::new(), ManualClock::default());
    let provider = stack(&vendor, &clock);
    let stored = ask(&*provider).await.expect("the vendor answers");
    clock.advance(2 * TTL);
    vendor.script(Rule::new(Fault::NoResponse));
    assert_eq!(ask(&*provider).await.expect("the expired entry is served"), stored);
    assert_eq!(vendor.calls(), 2, "the expired entry was to be replaced");
}
