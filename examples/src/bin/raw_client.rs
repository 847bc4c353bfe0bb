//! Puts a cache, limits and retries around a client of your own, here raw `reqwest`.
//!
//! `cargo run -p examples --bin raw_client`

use llm_cache::Cache;
use llm_core::{BoxError, Charge, Clock, Error, ErrorKind, SystemClock};
use llm_providers::{openai::OpenAiProtocol, protocol::VendorProtocol, retry::RetryLayer};
use llm_ratelimit::{Demand, Limiter, Plans, Settlement};
use llm_testkit::{Fault, RetryForm, Rule, Vendor};
use serde_json::{Value, json};

/// Sends a request without any layer. The kind and the charge of its error decide if the call is retried.
async fn send(http: &reqwest::Client, url: &str, body: &Value) -> Result<Value, Error> {
    let lost = |error| Error::from_cause(ErrorKind::Transport, error).with_charge(Charge::Unknown);
    let response = http.post(url).bearer_auth("no-real-key").body(body.to_string()).send().await.map_err(lost)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await.map_err(lost)?;
    if !status.is_success() {
        return Err(OpenAiProtocol::default().classify(status, &headers, &body, SystemClock.now(), None));
    }
    serde_json::from_slice(&body).map_err(|error| Error::from_cause(ErrorKind::Malformed, error))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // A simulated vendor on loopback that refuses the first request.
    let vendor = Vendor::new();
    vendor.script(Rule::new(Fault::rate_limited(std::time::Duration::ZERO, RetryForm::Seconds)).once());
    let server = vendor.serve().await;
    let (http, url) = (reqwest::Client::new(), format!("{}/chat/completions", server.base_url()));

    let cache = Cache::builder("test-cases").build()?;
    let limiter = Limiter::builder(Plans::uniform(["2/hour"])?).build()?;
    let retry = RetryLayer::new();
    for scenario in ["a login form", "a login form", "a search field", "a basket"] {
        let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": scenario}]});
        let key = cache.key("acme", "chat", &body)?;
        let (http, url, limiter, retry) = (http.clone(), url.clone(), limiter.clone(), retry.clone());
        let call = || async move {
            let call = async || retry.run(|| send(&http, &url, &body)).await.map(|value| (value, Settlement::Unknown));
            limiter.run(&Demand::new("acme", "gpt-4o-mini"), call).await
        };
        match cache.get_or_call(&key, call).await {
            Ok(found) => println!("{scenario}: {:?}, {} requests so far", found.origin, vendor.calls()),
            Err(error) => println!("{scenario}: {error}"),
        }
    }
    Ok(())
}
