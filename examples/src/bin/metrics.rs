//! Prints metrics in Prometheus's text format on the standard output, and a line of JSON for each span on the standard
//! error.
//!
//! `cargo run -p examples --features metrics --bin metrics`

use llm_cache::{Cache, CacheLayer};
use llm_core::{BoxError, Call, ChatRequest, into_provider};
use llm_providers::{Ledger, OpenAi, prices};
use llm_ratelimit::{Limiter, MetricsSampler, Plans, RateLimitLayer};
use llm_testkit::Vendor;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tracing_subscriber::fmt::format::FmtSpan;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // The recorder is installed before the caches are built. In a service, a route `/metrics` returns
    // `prometheus.render()`.
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &llm_providers::SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full("llm_cache_lookup_seconds".into()), &llm_cache::LOOKUP_SECONDS_BUCKETS)?
        .install_recorder()?;
    llm_providers::describe_metrics();
    llm_cache::describe_metrics();
    llm_ratelimit::describe_metrics();
    tracing_subscriber::fmt().json().with_span_events(FmtSpan::CLOSE).with_writer(std::io::stderr).init();

    // A simulated vendor in this process. A real one: `OpenAi::new(key)?`.
    let client = OpenAi::with_transport("no-real-key", Vendor::new().transport())?;
    let limiter = Limiter::builder(Plans::uniform(["$3/day"])?).prices(prices::openai()).build()?;
    let ledger = Ledger::new(prices::openai());
    let stack = tower::ServiceBuilder::new()
        .layer(RateLimitLayer::new(limiter.clone()))
        .layer(CacheLayer::new(Cache::builder("test-cases").build()?))
        .layer(ledger.attempts())
        .service(client);
    let provider = into_provider(stack);
    for scenario in ["a login form", "a search field", "a login form"] {
        let request = ChatRequest::new("gpt-4o-mini").user(format!("Write test cases for {scenario}."));
        provider.chat(Call::new("acme", request)).await?;
    }
    MetricsSampler::new(limiter).sample().await;
    print!("{}", prometheus.render());
    Ok(())
}
