//! Tests of metrics and spans. They contain no tenant.

use std::time::Duration;

use llm_core::{Call, ChatRequest, into_provider};
use llm_providers::scripted::Scripted;
use llm_ratelimit::{RateLimitLayer, Waiting};
use llm_testkit::Traces;
use tower::Layer;

use crate::support::limits;

#[test]
fn tracing_span_holds_outcome_without_tenant() {
    let traces = Traces::record();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let limiter = limits(["1/minute"]).waiting(Waiting::at_most(Duration::from_secs(90))).build().unwrap();
        let provider = into_provider(RateLimitLayer::new(limiter).layer(Scripted::new()));
        for _ in 0..2 {
            let question = Call::new("a-secret-tenant", ChatRequest::new("gpt-4o-mini").user("a secret question"));
            let _ = tokio::time::timeout(Duration::from_secs(1), provider.chat(question)).await;
        }
        let late = Call::new("a-secret-tenant", ChatRequest::new("gpt-4o-mini").user("a secret question"));
        let late = late.with_deadline((tokio::time::Instant::now() + Duration::from_secs(1)).into_std());
        provider.chat(late).await.unwrap_err();
    });
    let told = traces.take_fields();
    let count = |text: &str| told.iter().filter(|line| *line == text).count();
    assert_eq!(count("llm.ratelimit.outcome=granted"), 1);
    assert_eq!(count("llm.ratelimit.outcome=too_late"), 1);
    assert_eq!(count("llm.ratelimit.plan=default"), 2, "the one that was given up has no outcome");
    assert!(told.iter().all(|line| !line.contains("secret")), "{told:?}");
}

#[test]
fn tracing_span_holds_shadow_refusal() {
    let traces = Traces::record();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let limiter = limits(["1/day"]).shadow().build().unwrap();
        let provider = into_provider(RateLimitLayer::new(limiter).layer(Scripted::new()));
        for _ in 0..2 {
            provider.chat(Call::new("acme", ChatRequest::new("m").user("a"))).await.unwrap();
        }
    });
    let told = traces.take_fields();
    let count = |text: &str| told.iter().filter(|line| *line == text).count();
    assert_eq!(count("llm.ratelimit.shadow=true"), 2);
    assert_eq!(count("llm.ratelimit.outcome=granted"), 1);
    assert_eq!(count("llm.ratelimit.outcome=used_up"), 1);
}

/// Metrics with their labels, as a recorder received them.
#[cfg(feature = "metrics")]
struct Told(std::collections::HashMap<String, metrics_util::debugging::DebugValue>);

#[cfg(feature = "metrics")]
impl Told {
    fn of(calls: impl Future<Output = ()>) -> Self {
        let recorder = metrics_util::debugging::DebuggingRecorder::new();
        let snapshots = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.expect("a runtime").block_on(calls);
        });
        let named = snapshots.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
            let labels = key.key().labels().map(|label| format!(" {}={}", label.key(), label.value()));
            (key.key().name().to_owned() + &labels.collect::<String>(), value)
        });
        Self(named.collect())
    }

    fn count(&self, name: &str) -> u64 {
        use metrics_util::debugging::DebugValue;
        match self.0.get(name) {
            Some(DebugValue::Counter(count)) => *count,
            Some(DebugValue::Histogram(values)) => values.len() as u64,
            other => panic!("{name}: {other:?} of {:?}", self.0.keys()),
        }
    }
}

#[cfg(feature = "metrics")]
#[test]
fn metrics_count_granted_refused_used_debt() {
    let told = Told::of(call_and_wait());
    let count = |name| told.count(name);
    assert_eq!(count("llm_ratelimit_granted_total plan=default"), 4);
    assert_eq!(count("llm_ratelimit_refused_total plan=default reason=used_up"), 1);
    assert_eq!(count("llm_ratelimit_refused_total plan=default reason=too_large"), 1);
    assert_eq!(count("llm_ratelimit_wait_seconds plan=default"), 1);
    assert_eq!(count("llm_ratelimit_debt_total unit=money"), 300);
    assert_eq!(count("llm_ratelimit_used_tokens_total"), 70);
    let reserved = count("llm_ratelimit_reserved_tokens_total");
    assert_eq!(count("llm_ratelimit_refunded_tokens_total"), reserved - 70);
    assert!(told.0.keys().all(|name| !name.contains("acme")), "{:?}", told.0.keys());
}

#[cfg(feature = "metrics")]
#[test]
fn metrics_count_by_plan_and_reason() {
    let told = Told::of(async {
        let plans = r#"{"default": "free", "tenants": {"rich": "pro"},
            "plans": {"free": {"limits": ["1/day"]}, "pro": {"limits": ["2/day"]}}}"#;
        let plans = serde_json::from_str(plans).expect("they are right");
        let limiter = llm_ratelimit::Limiter::builder(plans).clock(crate::support::noon()).build().unwrap();
        let ask = |tenant| drop(limiter.try_reserve(&crate::support::ask(tenant)).map(|mut call| call.mark_sent()));
        ["poor", "poor", "poor", "rich", "rich", "rich"].into_iter().for_each(ask);
        limiter.emergency().shed(llm_ratelimit::Shed::Plan("pro".into()));
        ask("rich");
        limiter.close().await.unwrap();
        ask("poor");
    });
    for (name, count) in [
        ("granted_total plan=free", 1),
        ("granted_total plan=pro", 2),
        ("refused_total plan=free reason=used_up", 2),
        ("refused_total plan=free reason=closed", 1),
        ("refused_total plan=pro reason=used_up", 1),
        ("refused_total plan=pro reason=shed", 1),
    ] {
        assert_eq!(told.count(&format!("llm_ratelimit_{name}")), count, "{name}");
    }
}

#[cfg(feature = "metrics")]
#[test]
fn metrics_count_shadow_refusals_and_excess() {
    let told = Told::of(async {
        let observer = limits(["1/day"]).clock(crate::support::noon()).shadow().build().unwrap();
        let answer = llm_providers::scripted::Rule::say("x").usage(llm_core::Usage::new(30, 50));
        let provider = into_provider(RateLimitLayer::new(observer).layer(Scripted::new().rule(answer)));
        for _ in 0..3 {
            let question = Call::new("acme", ChatRequest::new("m").user("a").max_output_tokens(20));
            provider.chat(question).await.expect("nobody is refused");
        }
    });
    assert_eq!(told.count("llm_ratelimit_granted_total plan=default"), 1);
    assert_eq!(told.count("llm_ratelimit_refused_total plan=default reason=used_up"), 2);
    assert_eq!(told.count("llm_ratelimit_used_tokens_total"), 3 * 80, "all of them were sent");
    let counted = |name: &str| told.count(&format!("llm_ratelimit_{name}_tokens_total"));
    assert!(counted("excess") > 0);
    assert_eq!(counted("reserved") + counted("excess"), counted("used") + counted("refunded"));
}

#[cfg(feature = "metrics")]
async fn call_and_wait() {
    use llm_core::{Usage, Usd};
    use llm_providers::scripted::Rule;
    use llm_ratelimit::{Demand, Settlement};

    let budget = limits(["$0.000001/day", "100/day"])
        .prices(crate::support::unpriced())
        .clock(crate::support::noon())
        .build()
        .expect("the limits are right");
    let costs = |nanos| Demand::new("acme", "m").cost(Usd::from_nanos(nanos));
    let more = Settlement::Used { usage: Usage::default(), cost: Some(Usd::from_nanos(1_300)) };
    budget.try_reserve(&costs(500)).expect("there is room").settle(more);
    budget.try_reserve(&costs(500)).expect_err("there is no room");
    budget.try_reserve(&costs(5_000)).expect_err("there is no room");

    let limiter = limits(["1 concurrent"])
        .waiting(Waiting::at_most(Duration::from_secs(90)))
        .build()
        .expect("the limits are right");
    let answer = Rule::say("x").usage(Usage::new(30, 5));
    let provider = into_provider(RateLimitLayer::new(limiter.clone()).layer(Scripted::new().rule(answer)));
    let question = || Call::new("acme", ChatRequest::new("m").user("a").max_output_tokens(90));
    provider.chat(question()).await.expect("there is room");
    let held = limiter.try_reserve(&Demand::new("acme", "m")).expect("there is room");
    let (waited, ()) = tokio::join!(provider.chat(question()), async {
        tokio::task::yield_now().await;
        drop(held);
    });
    waited.expect("there is room");
}
