//! Tests of the metrics of attempts.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{FutureExt, StreamExt};
use llm_core::{Call, ChatRequest, Error, ErrorKind, layer::oneshot};
use llm_providers::OpenAi;
use llm_testkit::{Fault, Rule, Vendor};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use super::vendor::{Head, Plan, bound, call, ledger, stack};

/// Returns recorded values by name and labels; for a histogram, the number of records.
fn recorded(calls: impl Future<Output = ()>) -> BTreeMap<String, i64> {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        llm_providers::describe_metrics();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(calls);
    });
    let value = |value| match value {
        DebugValue::Counter(count) => count as i64,
        DebugValue::Gauge(size) => size.0 as i64,
        DebugValue::Histogram(values) => values.len() as i64,
    };
    let all = snapshots.snapshot().into_vec().into_iter().map(|(key, unit, text, found)| {
        assert!(unit.is_some() && text.is_some(), "{key:?} is not described");
        let labels: Vec<String> = key.key().labels().map(|label| label.value().to_owned()).collect();
        let name = key.key().name().strip_prefix("llm_providers_").unwrap().to_owned();
        (format!("{name} {}", labels.join(" ")), value(found))
    });
    all.collect()
}

#[test]
fn metrics_count_attempts_tokens_and_money() {
    let failed = Plan { head: Head::Fails(Error::new(ErrorKind::RateLimited, "wait")), ..Plan::default() };
    let unknown = Plan { tier: Some("flex"), ..Plan::default() };
    let plans = [Plan::default(), failed, Plan { head: Head::Hangs, ..Plan::default() }, unknown, Plan::default()];
    let found = recorded(async {
        let provider = stack(&ledger(), plans);
        for _ in 0..4 {
            let _ = provider.chat(call("acme")).now_or_never();
        }
        let reply = provider.chat_stream(call("acme")).await.unwrap();
        assert!(reply.output.count().await > 0);
    });
    let expected = [
        ("calls_total v chat m complete", 3),
        ("calls_total v chat m failed", 1),
        ("calls_total v chat m abandoned", 1),
        ("errors_total v chat m rate_limited", 1),
        ("calls_in_flight chat m", 0),
        ("call_seconds v chat m complete", 3),
        ("call_seconds v chat m failed", 1),
        ("call_seconds v chat m abandoned", 1),
        ("first_content_seconds v chat m", 1),
        ("tokens_total v chat m input", 30),
        ("tokens_total v chat m output", 15),
        ("cost_nano_usd_total v chat m complete", 40_000),
        ("unconfirmed_nano_usd_total v chat m", bound().nanos()),
        ("unknown_cost_total v chat m", 1),
    ];
    let expected: BTreeMap<String, i64> = expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(found, expected);
}

#[test]
fn metrics_name_provider_of_failed_attempts() {
    let vendor = Vendor::new();
    vendor.script(Rule::new(Fault::status(http::StatusCode::BAD_REQUEST, "{}")).once());
    vendor.script(Rule::new(Fault::NoResponse).once());
    let found = recorded(async {
        let client = OpenAi::with_transport("no-real-key", vendor.transport()).unwrap();
        let stack = tower::ServiceBuilder::new().layer(ledger().attempts()).service(client);
        for _ in 0..3 {
            let call = Call::new("acme", ChatRequest::new("m").user("hi"));
            let _ = tokio::time::timeout(Duration::from_secs(60), oneshot(stack.clone(), call)).await;
        }
    });
    let calls: BTreeMap<&str, i64> = found.iter().map(|(name, value)| (&**name, *value)).collect();
    for outcome in ["complete", "failed", "abandoned"] {
        assert_eq!(calls.get(&*format!("calls_total openai chat m {outcome}")), Some(&1), "{found:?}");
    }
    assert!(found.keys().all(|name| !name.contains("unknown ")), "{found:?}");
}

#[test]
fn metrics_unlisted_models_share_a_series() {
    let found = recorded(async {
        let provider = stack(&ledger(), []);
        for model in ["m9", "anything"] {
            provider.chat(Call::new("acme", ChatRequest::new(model).user("hi"))).await.unwrap();
        }
    });
    assert_eq!(found["calls_total v chat other complete"], 2);
    assert!(found.keys().all(|name| name.contains(" other")));
}

#[test]
fn metrics_in_flight_counts_running_attempts() {
    let found = recorded(async {
        let provider = stack(&ledger(), [Plan { head: Head::Hangs, ..Plan::default() }]);
        // This call keeps running, and is not dropped.
        let mut running = Box::pin(async move { provider.chat(call("acme")).await.map(drop) });
        assert!((&mut running).now_or_never().is_none());
        std::mem::forget(running);
    });
    assert_eq!(found["calls_in_flight chat m"], 1);
}
