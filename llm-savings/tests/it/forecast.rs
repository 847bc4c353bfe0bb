use std::{sync::Arc, time::Duration};

use llm_cache::{Cache, CacheLayer};
use llm_core::{Call, ChatRequest, ManualClock, Usd, into_provider};
use llm_providers::{Ledger, OpenAi, ledger::LedgerFile, prices};
use llm_savings::{Analysis, Options};
use llm_testkit::Vendor;

use crate::row;

const HOUR: Duration = Duration::from_secs(3_600);

/// Asks the stack 400 questions of two tenants, a minute apart, of which many repeat; returns its log and what it saved.
async fn stack_log(directory: &std::path::Path) -> (String, Usd) {
    let clock = ManualClock::at_unix(1_764_000_000);
    let ledger = Ledger::new(prices::openai());
    let log = directory.join("requests.jsonl");
    let file = LedgerFile::builder(directory.join("costs.json")).request_log_with_texts(&log).clock(clock.clone());
    let file = file.open(&ledger).expect("it opens");
    let cache = Cache::builder("questions").ttl(HOUR).clock(clock.clone()).build().expect("it is valid");
    let client = OpenAi::with_transport("no-real-key", Vendor::new().transport()).expect("it is valid");
    let stack = tower::ServiceBuilder::new()
        .layer(ledger.requests())
        .layer(CacheLayer::new(cache))
        .layer(ledger.attempts())
        .service(client);
    let provider = into_provider(stack);
    let mut random = 11_u64;
    for i in 0..400_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let text = format!("Write test cases for story {}.", (random >> 33) % 60);
        let request = ChatRequest::new("gpt-4o-mini").system("You write test cases.").user(text);
        let call = Call::new(if i % 3 == 0 { "acme" } else { "globex" }, request);
        Arc::clone(&provider).chat(call).await.expect("the vendor answers");
        clock.advance(Duration::from_secs(60));
    }
    file.flush().expect("it can be written");
    let saved = ledger.snapshot().total().saved.total();
    (std::fs::read_to_string(log).expect("it was written"), saved)
}

#[tokio::test(start_paused = true)]
async fn forecast_matches_ledger_of_own_stack() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, saved) = stack_log(directory.path()).await;
    let mut analysis = Analysis::new(Options { ttls: vec![HOUR], ..Options::default() });
    analysis.read(log.as_bytes()).expect("bytes can be read");
    let report = analysis.finish();
    let forecast = row(report.lever("exact cache"), "ttl 1h").money.expect("an amount");
    assert_eq!(report.log.saved_already, saved);
    assert!(saved > Usd::ZERO);
    let (forecast, saved) = (forecast.nanos(), saved.nanos());
    println!("forecast {forecast}, ledger {saved} nano-dollars");
    assert!((forecast - saved).abs() * 50 <= saved, "forecast {forecast}, ledger {saved}");
}
