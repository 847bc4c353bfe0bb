//! Spans and events of batches.

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
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert!(sent[0].contains("cause=items calls=4 items=4 wait=0ns"), "{sent:?}");
    assert!(sent[1].contains("cause=wait calls=2 items=2"), "{sent:?}");
    let spans: Vec<_> = traces.iter().filter(|trace| trace.name == "llm.batch").collect();
    assert_eq!(spans.len(), 4, "two batches, and two halves of the first");
    assert!(traces.iter().any(|trace| trace.fields.iter().any(|field| field.1.contains("is halved"))));
    assert!(traces.iter().all(|trace| trace.fields.iter().all(|field| !field.1.contains("acme"))));
}
