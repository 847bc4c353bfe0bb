//! Compares a web service that uses async-openai with the same service after three lines of cache.
//!
//! `cargo run --release -p examples --features axum --bin axum_async_openai`, with no key: it sends
//! requests to itself, with a simulated vendor below, and ends.

use examples::axum_service::{Form, Service};
use futures_util::future::try_join_all;
use llm_core::{BoxError, Usd};
use llm_testkit::Vendor;
use tokio::net::TcpListener;

/// Number of requests for each scenario.
const TIMES: usize = 50;
const SCENARIOS: [&str; 4] = ["a login form", "a search field", "a shopping cart", "a password reset"];

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // List prices of gpt-4o-mini: nano-dollars for a million tokens of input, cached input, output.
    let vendor = Vendor::builder().price("", 150_000_000, 75_000_000, 600_000_000).build();
    let server = vendor.serve().await;
    let service = Service::new(&server.base_url(), &["10000/minute"])?;
    let cache = service.cache().clone();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    #[expect(clippy::disallowed_methods, reason = "the service runs beside its clients")]
    let serving = tokio::spawn(async move { axum::serve(listener, service.router()).await });

    let mut spent = 0;
    for path in ["/before", "/test-cases"] {
        let calls = vendor.calls();
        send(&format!("{address}{path}")).await?;
        let paid = vendor.total_billed() - spent;
        spent += paid;
        let calls = vendor.calls() - calls;
        println!("{path:<12} {} requests, {calls} calls to the vendor, paid {}", TIMES * SCENARIOS.len(), usd(paid));
    }
    let stats = cache.stats();
    println!("the cache: {} hits, {} joined a running call, {} calls", stats.hits, stats.coalesced, stats.misses);
    println!("simulated: the vendor's texts, and the money at list prices; counted: requests and calls");
    serving.abort();
    Ok(())
}

async fn send(address: &str) -> Result<(), BoxError> {
    let http = reqwest::Client::new();
    let scenarios = SCENARIOS.iter().flat_map(|scenario| std::iter::repeat_n(scenario, TIMES));
    let responses = scenarios.map(|scenario| {
        let form = Form { organisation: "acme".into(), scenario: (*scenario).into() };
        let http = &http;
        async move {
            let body = serde_json::to_string(&form)?;
            let request = http.post(address).header("content-type", "application/json").body(body);
            Ok::<_, BoxError>(request.send().await?.error_for_status()?)
        }
    });
    try_join_all(responses).await.map(drop)
}

fn usd(nano: u64) -> Usd {
    Usd::from_nanos(i64::try_from(nano).unwrap_or(i64::MAX))
}
