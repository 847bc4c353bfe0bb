//! Tests of call options in stacks with and without the layer that reads them.

use std::sync::Arc;

use llm_cache::{Cache, CacheLayer, Directive, Tag};
use llm_core::{
    Call, Charge, ChatRequest, ErrorKind, Provider, into_provider,
    layer::{NoFallback, Pinned},
};
use llm_providers::{Ledger, OpenAi, ledger::StackFault, prices};
use llm_testkit::Vendor;
use tower::ServiceBuilder;

fn question() -> Call<ChatRequest> {
    Call::new("acme", ChatRequest::new("gpt-4o-mini").user("What changed today?"))
}

/// Outcome of calls with these options, with and without a cache: a response, a fault of the stack, or a refusal.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Served,
    Fault,
    Refused,
}

async fn seen(call: Call<ChatRequest>, cache: Option<Cache>) -> Seen {
    let (vendor, ledger) = (Vendor::new(), Ledger::new(prices::openai()));
    let client = OpenAi::with_transport("no-real-key", vendor.transport()).expect("it needs no server");
    let provider: Arc<dyn Provider> = match cache {
        Some(cache) => {
            let stack = ServiceBuilder::new().layer(ledger.requests()).layer(CacheLayer::new(cache));
            into_provider(stack.layer(ledger.attempts()).service(client))
        }
        None => into_provider(ServiceBuilder::new().layer(ledger.requests()).layer(ledger.attempts()).service(client)),
    };
    match provider.chat(call).await {
        Err(error) => {
            assert_eq!(
                (error.kind(), error.charge(), vendor.calls()),
                (ErrorKind::Unsupported, Charge::None, 0),
                "{error}"
            );
            Seen::Refused
        }
        Ok(_) => match ledger.snapshot().stack_faults().collect::<Vec<_>>()[..] {
            [] => Seen::Served,
            [StackFault::UnreadOption] => Seen::Fault,
            ref others => panic!("{others:?}"),
        },
    }
}

#[tokio::test(start_paused = true)]
async fn directive_without_cache_is_reported_or_refused() {
    let directive = |directive: Directive| question().with_option(directive);
    let cases = [
        (question(), Seen::Served),
        (directive(Directive::new()), Seen::Served),
        (directive(Directive::new().no_cache()), Seen::Fault),
        (directive(Directive::new().tag(Tag::named("ticket-7"))), Seen::Fault),
        (directive(Directive::new().only_if_cached()), Seen::Refused),
        (question().with_option(NoFallback), Seen::Served),
        (question().with_option(Pinned::to("eu")), Seen::Refused),
        (question().with_option(NoFallback).with_option(Directive::new().only_if_cached()), Seen::Refused),
    ];
    for (number, (call, expected)) in cases.into_iter().enumerate() {
        assert_eq!(seen(call, None).await, expected, "case {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn directive_with_cache_is_read() {
    let shadow = || Cache::builder("shadow").shadow().build().unwrap();
    let whole = || Cache::builder("whole").build().unwrap();
    for cache in [whole(), shadow()] {
        for directive in
            [Directive::new().no_cache(), Directive::new().no_store(), Directive::new().tag(Tag::named("a"))]
        {
            assert_eq!(seen(question().with_option(directive), Some(cache.clone())).await, Seen::Served);
        }
    }
}
