//! Uses the limiter alone, around a call of any client: it reserves before the call, and settles by the usage.
//!
//! `cargo run -p examples --bin limiter`

use llm_core::{BoxError, Call, ChatRequest, Error, Provider};
use llm_providers::OpenAi;
use llm_ratelimit::{Demand, Limiter, Plans, Settlement};
use llm_testkit::Vendor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // A simulated vendor in this process. A real one: `OpenAi::new(key)?`, or any other client.
    let client = OpenAi::with_transport("no-real-key", Vendor::new().transport())?;

    let limiter = Limiter::builder(Plans::uniform(["2/hour", "10k tokens/day"])?).build()?;
    for scenario in ["a login form", "a search field", "a basket"] {
        // Reserves 50 tokens of input and 500 of output. Unused tokens come back.
        let demand = Demand::new("acme", "gpt-4o-mini").tokens(50, 500);
        let request = ChatRequest::new("gpt-4o-mini").user(format!("Write test cases for {scenario}."));
        let called = limiter.run(&demand, async || {
            let reply = client.chat(Call::new("acme", request)).await?;
            let usage = reply.receipt.usage().unwrap_or_default();
            Ok::<_, Error>((reply.output, Settlement::Used { usage, cost: None }))
        });
        match called.await {
            Ok(response) => println!("{scenario}: {}", response.text()),
            Err(refused) => println!("{scenario}: {refused}; wait {:?}", refused.retry_after()),
        }
    }
    for status in limiter.usage("acme").await.iter() {
        println!("{}: {} of {} left", status.limit, status.remaining, status.amount);
    }
    Ok(())
}
