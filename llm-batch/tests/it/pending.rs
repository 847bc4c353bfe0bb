//! Tests of the bounds on pending calls, of closing, and of shadow mode.

use futures_util::future::{join_all, poll_immediate};
use llm_batch::BatchLayer;
use llm_core::{
    Call, EmbedRequest, ErrorKind,
    layer::{BatchLimits, oneshot},
};
use tokio::time::{Instant, timeout};
use tower::Layer;

use crate::support::{LATENCY, MS, Requests, call};

#[tokio::test(start_paused = true)]
async fn calls_beyond_max_pending_are_refused() {
    // The bound is on items, or on estimated tokens: a text of 36 bytes counts as 10 tokens.
    for (items, tokens) in [(5, 10_000), (1_000, 50)] {
        let requests = Requests::default();
        let layer = BatchLayer::new(BatchLimits::of_items(64)).max_pending(items, tokens);
        let batch = layer.layer(requests.kind());
        let send = |model: &'static str| {
            let call = move |n: usize| Call::new("acme", EmbedRequest::new(model, [format!("{n:036}")]));
            join_all((0..8).map(|n| oneshot(batch.clone(), call(n))))
        };
        let replies = send("m").await;
        let refused: Vec<_> = replies.iter().filter_map(|reply| reply.as_ref().err()).collect();
        assert_eq!(refused.len(), 3);
        assert!(refused.iter().all(|error| error.kind() == ErrorKind::Overloaded));
        assert!(refused[0].message().contains("raise max_pending"), "{}", refused[0]);
        assert_eq!(batch.stats().refused, 3);
        // For another model, the error of the estimates is not known yet.
        assert_eq!(send("other").await.iter().filter(|reply| reply.is_ok()).count(), 5, "the room came back");
    }
}

#[tokio::test(start_paused = true)]
async fn call_larger_than_max_pending_goes_alone() {
    let requests = Requests::default();
    let batch = BatchLayer::new(BatchLimits::of_items(64)).max_pending(1, 1).layer(requests.kind());
    assert!(oneshot(batch.clone(), call("x".repeat(900))).await.is_ok());
    // Cancelled calls free their room.
    assert!(timeout(MS, oneshot(batch.clone(), call("a"))).await.is_err());
    assert!(oneshot(batch, call("b")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn close_sends_open_batches_and_drains() {
    let requests = Requests::default();
    let batch = BatchLayer::new(BatchLimits::of_items(64)).max_wait(5_000 * MS).layer(requests.kind());
    let start = Instant::now();
    let calls = join_all((0..4).map(|n| oneshot(batch.clone(), call(n.to_string()))));
    let close = async {
        tokio::time::sleep(10 * MS).await;
        batch.close().await;
        start.elapsed()
    };
    let (replies, closed) = tokio::join!(calls, close);
    assert!(replies.iter().all(Result::is_ok));
    assert_eq!(requests.sizes(), [1, 3]);
    assert!((LATENCY + 10 * MS..LATENCY + 12 * MS).contains(&closed), "{closed:?}");
    let error = oneshot(batch.clone(), call("late")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(poll_immediate(batch.close()).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn shadow_counts_and_changes_nothing() {
    let requests = Requests::default();
    let layer = BatchLayer::new(BatchLimits::of_items(64));
    let shadow = layer.clone().shadow().layer(requests.kind());
    let start = Instant::now();
    let send = |batch: &llm_batch::Batch<_>| join_all((0..65).map(|n| oneshot(batch.clone(), call(n.to_string()))));
    assert!(send(&shadow).await.iter().all(Result::is_ok));
    assert_eq!((start.elapsed(), requests.sizes()), (LATENCY, vec![1; 65]));
    let real = layer.layer(requests.kind());
    send(&real).await;
    assert_eq!(shadow.stats(), real.stats());
}
