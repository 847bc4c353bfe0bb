//! Tests that a batch does not wait past the deadlines of its callers.

use std::time::Duration;

use llm_batch::BatchLayer;
use llm_core::layer::{BatchLimits, CallDeadline, SharedDeadline, oneshot};
use tokio::time::{Instant, sleep};
use tower::Layer;

use crate::support::{LATENCY, MS, Requests, call};

/// Sends the calls "first", then "waits" and the others. Returns the time at which "waits" was answered.
async fn answered(others: Vec<(Duration, Option<Duration>)>, shared: Option<SharedDeadline>) -> Duration {
    let requests = Requests::default();
    let batch = BatchLayer::new(BatchLimits::of_items(64)).max_wait(500 * MS).layer(requests.kind());
    let start = Instant::now();
    let waits = async {
        let mut waits = call("waits");
        if let Some(shared) = shared {
            waits.extensions.insert(shared);
        }
        oneshot(batch.clone(), waits).await.expect("it is answered");
        start.elapsed()
    };
    let others = others.into_iter().map(|(at, deadline)| {
        let batch = batch.clone();
        async move {
            sleep(at).await;
            let mut other = call("other");
            other.deadline = deadline.map(|deadline| (start + deadline).into_std());
            oneshot(batch, other).await.expect("it is answered");
        }
    });
    let first = async { oneshot(batch.clone(), call("first")).await.expect("it is answered") };
    let others = futures_util::future::join_all(others);
    let (_, answered, _) = tokio::join!(first, waits, others);
    assert_eq!(requests.all()[0], ["first"]);
    answered
}

#[tokio::test(start_paused = true)]
async fn batch_is_sent_before_earliest_deadline() {
    let without = answered(vec![(3 * MS, None)], None).await;
    assert!(without >= 450 * MS, "it waits for more calls: {without:?}");
    let with = answered(vec![(3 * MS, Some(40 * MS)), (4 * MS, Some(2_000 * MS))], None).await;
    assert!(with < LATENCY + 25 * MS, "half of the time is left for the call: {with:?}");
    let passed = answered(vec![(30 * MS, Some(40 * MS))], None).await;
    assert!(passed < LATENCY + 35 * MS, "it is sent at once: {passed:?}");
}

#[tokio::test(start_paused = true)]
async fn batch_follows_deadlines_of_shared_call() {
    // A waiter with a deadline joins the call of a cache.
    let shared = SharedDeadline::new();
    let start = Instant::now();
    let unbounded = shared.join(CallDeadline::default());
    let joins = async {
        sleep(10 * MS).await;
        shared.join(CallDeadline::from(Some((start + 60 * MS).into_std())))
    };
    let (answered, _waiter) = tokio::join!(answered(vec![], Some(shared.clone())), joins);
    assert!(answered < LATENCY + 35 * MS, "{answered:?}");
    drop(unbounded);
}
