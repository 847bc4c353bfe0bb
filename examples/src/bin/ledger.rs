//! Uses the ledger alone: the cost of calls by tenant, label and model, as a table and as CSV.
//!
//! `cargo run -p examples --bin ledger`

use llm_core::{BoxError, Call, ChatRequest, into_provider};
use llm_providers::{Ledger, OpenAi, prices, retry::RetryLayer};
use llm_testkit::{Fault, RetryForm, Rule, Vendor};
use std::time::Duration;
use tower::ServiceBuilder;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // A simulated vendor in this process, which refuses the first request. A real one: `OpenAi::new(key)?`.
    let vendor = Vendor::new();
    vendor.script(Rule::new(Fault::rate_limited(Duration::ZERO, RetryForm::Seconds)).once());
    let client = OpenAi::with_transport("no-real-key", vendor.transport())?;

    let ledger = Ledger::new(prices::openai());
    let stack = ServiceBuilder::new()
        .layer(ledger.requests()) // the value of each response that a caller got
        .layer(RetryLayer::new())
        .layer(ledger.attempts()) // the cost of each attempt, failed ones too
        .service(client);
    let provider = into_provider(stack);
    for (tenant, feature) in [("acme", "search"), ("acme", "test-cases"), ("globex", "search")] {
        let request = ChatRequest::new("gpt-4o-mini").user(format!("Write a text about {feature}."));
        let reply = provider.chat(Call::new(tenant, request).with_label("feature", feature)?).await?;
        println!("{tenant}, {feature}: {}", reply.receipt.paid());
    }
    println!("{}", ledger.snapshot());
    ledger.snapshot().write_csv(std::io::stdout())?;
    Ok(())
}
