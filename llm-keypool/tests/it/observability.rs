//! Tests of spans, events and metrics.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use llm_core::{Call, ChatRequest, layer::oneshot};
use llm_keypool::{Event, Reason};
use llm_testkit::Traces;

use crate::{
    support::{pool, status},
    vendor::{Headers, Vendor},
};

/// Serves calls while one key is limited for a second, and another key is wrong. Returns the events.
async fn serve() -> Vec<Event> {
    let vendor = Vendor::new((1, 5), Headers::None);
    let keys = ["limited", "wrong", "good"].map(|name| vendor.key(name, name, None));
    vendor.fault("limited", |at| Some(status(429)).filter(|_| at < Duration::from_secs(1)));
    vendor.fault("wrong", |_| Some(status(401)));
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let pool = pool(keys).on_event(move |event: &Event| seen.lock().unwrap().push(event.clone())).build().unwrap();
    for _ in 0..100 {
        let call = Call::new("a-secret-tenant", ChatRequest::new("gpt-4o").user("a secret request"));
        oneshot(pool.clone(), call).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(pool);
    Arc::into_inner(events).unwrap().into_inner().unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

#[test]
fn events_tell_each_removal_and_return_once() {
    let events = runtime().block_on(serve());
    let of = |name: &str, wanted: Reason| {
        let is_of = |event: &&Event| match event {
            Event::Parked { part, reason, .. } | Event::Returned { part, reason, .. } => {
                &*part.group == name && *reason == wanted
            }
            _ => false,
        };
        events.iter().filter(is_of).map(|event| matches!(event, Event::Parked { .. })).collect::<Vec<_>>()
    };
    assert_eq!(of("limited", Reason::RateLimited), [true, false], "{events:?}");
    assert_eq!(of("wrong", Reason::Unauthorized), [true], "{events:?}");
    assert_eq!(events.len(), 3, "{events:?}");
}

#[test]
fn tracing_span_holds_member_and_failures() {
    let traces = Traces::record();
    runtime().block_on(serve());
    let told = traces.take_fields();
    let count = |text: &str| told.iter().filter(|line| *line == text).count();
    assert_eq!(count("llm.keypool.outcome=served"), 100);
    assert_eq!(count("reason=unauthorized"), 1);
    assert!(count("llm.keypool.member=good") > 30 && count("llm.keypool.member=limited") > 10, "{told:?}");
    let failures = count("llm.keypool.failures=1") + 2 * count("llm.keypool.failures=2");
    assert!(failures >= 2 && count("llm.keypool.failures=0") > 90);
    assert!(told.iter().all(|line| !line.contains("secret")), "{told:?}");
}

#[cfg(feature = "metrics")]
#[test]
fn metrics_count_calls_failures_and_parkings() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || runtime().block_on(serve()));
    let counted: std::collections::HashMap<String, u64> = snapshots
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| {
            let labels = key.key().labels().map(|label| format!(" {}={}", label.key(), label.value()));
            let DebugValue::Counter(count) = value else { panic!("{value:?}") };
            (key.key().name().to_owned() + &labels.collect::<String>(), count)
        })
        .collect();
    assert_eq!(counted["llm_keypool_calls_total outcome=served"], 100);
    assert_eq!(counted["llm_keypool_parked_total reason=unauthorized"], 1);
    assert_eq!(counted["llm_keypool_returned_total reason=rate_limited"], 1);
    assert!((2..=4).contains(&counted["llm_keypool_failed_attempts_total"]), "{counted:?}");
}
