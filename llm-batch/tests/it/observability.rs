//! Tests of the spans and events of batches.

use futures_util::future::join_all;
use llm_batch::BatchLayer;
use llm_core::layer::{BatchLimits, oneshot};
use llm_testkit::Traces;
use tower::Layer;

use crate::support::{Requests, call, invalid};

#[tokio::test(start_paused = true)]
async fn trace_shows_fill_cause_and_halvings() {
    let requests = Requests::default();
    let refuse = |texts: &[String]| (texts.len() > 2).then(invalid);
    let batch = BatchLayer::new(BatchLimits::of_items(4)).layer(requests.vendor(refuse));
    let traces = Traces::record();
    join_all((0..7).map(|n| oneshot(batch.clone(), call(n.to_string())))).await;
    let traces = traces.take();
    let fields = |name: &str| -> Vec<String> {
        let of = traces.iter().filter(|trace| trace.fields.iter().any(|field| field.0 == name));
        of.map(|trace| trace.fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
            .collect()
    };
    let sent: Vec<String> = fields("wait");
    assert_eq!(sent.len(), 3, "{sent:?}");
    for (event, expected) in sent.iter().zip([
        "cause=idle calls=1 items=1 wait=0ns",
        "cause=items calls=4 items=4 wait=0ns",
        "cause=wait calls=2 items=2",
    ]) {
        assert!(event.contains(expected), "{sent:?}");
    }
    let spans: Vec<_> = traces.iter().filter(|trace| trace.name == "llm.batch").collect();
    assert_eq!(spans.len(), 5, "a lone call, two batches, and two halves of the first");
    assert!(traces.iter().any(|trace| trace.fields.iter().any(|field| field.1.contains("is halved"))));
    assert!(traces.iter().all(|trace| trace.fields.iter().all(|field| !field.1.contains("acme"))));
}

/// Sends seven calls, of which six are gathered in batches, and another one that is refused.
#[cfg(feature = "metrics")]
async fn send(layer: BatchLayer) {
    let requests = Requests::default();
    let refuse = |texts: &[String]| (texts.len() > 2).then(invalid);
    let batch = layer.max_pending(7, 1_000).layer(requests.vendor(refuse));
    join_all((0..8).map(|n| oneshot(batch.clone(), call(n.to_string())))).await;
}

#[cfg(feature = "metrics")]
fn recorded(layer: BatchLayer) -> std::collections::HashMap<String, metrics_util::debugging::DebugValue> {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime needs nothing");
    metrics::with_local_recorder(&recorder, || runtime.block_on(send(layer)));
    let named = |(key, _, _, value): (metrics_util::CompositeKey, _, _, _)| {
        let labels = key.key().labels().map(|label| format!(" {}={}", label.key(), label.value()));
        (key.key().name().to_owned() + &labels.collect::<String>(), value)
    };
    snapshots.snapshot().into_vec().into_iter().map(named).collect()
}

#[cfg(feature = "metrics")]
#[test]
fn metrics_count_requests_waits_and_halvings() {
    use metrics_util::debugging::DebugValue::{Counter, Histogram};

    let seen = recorded(BatchLayer::new(BatchLimits::of_items(4)));
    for cause in ["idle", "items", "wait"] {
        assert_eq!(seen[&format!("llm_batch_requests_total cause={cause} shadow=0")], Counter(1), "{seen:?}");
    }
    assert_eq!(seen["llm_batch_halvings_total"], Counter(1));
    assert_eq!(seen["llm_batch_refused_total"], Counter(1));
    let values = |name: &str| match &seen[name] {
        Histogram(values) => values.iter().map(|value| value.into_inner()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(values("llm_batch_fill_ratio shadow=0"), [0.25, 1.0, 0.5]);
    let waits = values("llm_batch_wait_seconds");
    assert_eq!((waits.len(), waits[..5].iter().sum::<f64>()), (7, 0.0), "two of them waited: {waits:?}");
    assert!(waits[5..].iter().all(|wait| (0.001..0.02).contains(wait)), "{waits:?}");
}

#[cfg(feature = "metrics")]
#[test]
fn metrics_of_shadow_mode_are_labelled() {
    use metrics_util::debugging::DebugValue::Counter;

    let seen = recorded(BatchLayer::new(BatchLimits::of_items(4)).shadow());
    assert_eq!(seen["llm_batch_requests_total cause=idle shadow=1"], Counter(1), "{seen:?}");
    assert_eq!(seen["llm_batch_requests_total cause=items shadow=1"], Counter(1));
    assert!(seen.keys().all(|name| !name.contains("shadow=0")), "{seen:?}");
}
