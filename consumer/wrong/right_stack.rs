//! A right stack, of which the others are wrong variants: it compiles.

use llm_providers::{Ledger, OpenAi, llm_core::into_provider, prices, retry::RetryLayer};

fn main() {
    let ledger = Ledger::new(prices::openai());
    let client = OpenAi::new("no-real-key").expect("a key");
    let stack = tower::ServiceBuilder::new()
        .layer(ledger.requests())
        .layer(RetryLayer::new())
        .concurrency_limit(8)
        .layer(ledger.attempts())
        .service(client);
    into_provider(stack);
}
