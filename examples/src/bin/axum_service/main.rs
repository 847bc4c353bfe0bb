//! Runs a web service on a stack of layers: cache, limits and budgets by organisation, ledger, time-out, streamed
//! responses.
//!
//! `cargo run --release -p examples --features axum --bin axum_service [ADDRESS [LIMIT…]]`, with no key: the vendor is
//! simulated, and takes 0.2 s. Without arguments it listens on port 3000, with a limit and a budget for each organisation.
//! Then, as often as you like:
//!
//! ```sh
//! curl -i localhost:3000/test-cases -H 'content-type: application/json' \
//!     -d '{"organisation": "acme", "scenario": "a login form", "stream": true}'
//! curl localhost:3000/costs
//! ```

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, http::Response, routing};
use llm_cache::{Cache, CacheLayer};
use llm_core::{BoxError, Call, ChatRequest, Provider, into_provider};
use llm_providers::{Ledger, OpenAi, openai::serve, prices};
use llm_ratelimit::{Limiter, Plans, RateLimitLayer};
use llm_testkit::{Latency, Vendor};

const LIMITS: [&str; 2] = ["3/minute", "$3/day"];

#[derive(Clone)]
struct Service {
    provider: Arc<dyn Provider>,
    ledger: Ledger,
}

#[derive(serde::Deserialize)]
struct Form {
    organisation: String,
    scenario: String,
    #[serde(default)]
    stream: bool,
}

fn router(base_url: &str, timeout: Duration, plans: Plans) -> Result<Router, BoxError> {
    let ledger = Ledger::new(prices::openai());
    let stack = tower::ServiceBuilder::new()
        .layer(ledger.requests())
        .layer(RateLimitLayer::new(Limiter::builder(plans).prices(prices::openai()).build()?))
        .layer(CacheLayer::new(Cache::builder("test-cases").build()?))
        .timeout(timeout)
        .layer(ledger.attempts())
        .service(OpenAi::new("no-real-key")?.base_url(base_url)?);
    let service = Service { provider: into_provider(stack), ledger };
    let router = Router::new().route("/test-cases", routing::post(test_cases)).route("/costs", routing::get(costs));
    Ok(router.with_state(service))
}

async fn test_cases(State(service): State<Service>, Json(form): Json<Form>) -> Response<serve::Body> {
    let request = ChatRequest::new("gpt-4o-mini").user(format!("Write test cases for: {}", form.scenario));
    let call = Call::new(form.organisation, request);
    match form.stream {
        true => serve::chat_stream(service.provider.chat_stream(call).await),
        false => serve::chat(service.provider.chat(call).await),
    }
}

async fn costs(State(service): State<Service>) -> String {
    service.ledger.snapshot().to_string()
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut args = args.iter().map(String::as_str);
    let address = args.next().unwrap_or("127.0.0.1:3000");
    let plans = if args.len() > 0 { Plans::uniform(args) } else { Plans::uniform(LIMITS) };
    let latency = Latency::fixed(Duration::from_millis(200), Duration::ZERO);
    let vendor = Vendor::builder().latency(latency).build().serve().await;
    let router = router(&vendor.base_url(), Duration::from_secs(60), plans.map_err(|error| error.to_string())?)?;
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener = listener.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}

#[cfg(test)]
mod tests;
