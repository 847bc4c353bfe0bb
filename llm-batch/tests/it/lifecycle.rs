//! Tests of callers that leave, of runtimes that end, and of closed batchers.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Waker},
};

use futures_util::{FutureExt, future::join_all};
use llm_batch::{Batch, BatchLayer, Batcher};
use llm_core::{
    Embeddings, Error, ErrorKind, Reply,
    layer::{BatchLimits, oneshot},
};
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep, timeout},
};
use tower::Layer;

use crate::support::{LATENCY, MS, Requests, Service, call, first, invalid, vector};

const LIMITS: BatchLimits = BatchLimits::of_items(64);

type Answer = Pin<Box<dyn Future<Output = Result<Reply<Embeddings>, Error>>>>;

fn send(batch: &Batch<Service>, text: &str) -> Answer {
    Box::pin(oneshot(batch.clone(), call(text)))
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime needs nothing")
}

#[tokio::test(start_paused = true)]
async fn caller_leaving_at_any_poll_affects_none() {
    for leaver in 0..4 {
        for polls in 0..12 {
            let requests = Requests::default();
            // The request with all texts is refused, so that they are sent again in halves.
            let refuse = |texts: &[String]| (texts.len() > 2).then(invalid);
            let batch = BatchLayer::new(LIMITS).layer(requests.vendor(refuse));
            let mut others = vec![send(&batch, "busy")];
            let leaves = send(&batch, "leaves");
            others.extend(["a", "b", "c"].map(|text| send(&batch, text)));
            let leave = async move {
                let mut leaves = leaves;
                for _ in 0..polls {
                    let left = (&mut leaves).now_or_never();
                    if left.is_some() {
                        return;
                    }
                    sleep(LATENCY / 4).await;
                }
            };
            let mut all: Vec<Pin<Box<dyn Future<Output = ()>>>> = vec![];
            for (other, text) in others.into_iter().zip(["busy", "a", "b", "c"]) {
                all.push(Box::pin(async move { assert_eq!(first(&other.await), vector(text)) }));
            }
            all.insert(leaver, Box::pin(leave));
            let done = timeout(20 * LATENCY, join_all(all)).await;
            assert!(done.is_ok(), "caller {leaver} left after {polls} polls, and another hangs");
            assert!(timeout(MS, batch.close()).await.is_ok(), "the room came back");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_drains_and_returns_again() {
    let requests = Requests::default();
    let batch = BatchLayer::new(LIMITS).max_wait(5_000 * MS).layer(requests.kind());
    let start = Instant::now();
    let calls = join_all((0..4).map(|n| send(&batch, &n.to_string())));
    let close = async |after| {
        sleep(after).await;
        batch.close().await;
        start.elapsed()
    };
    // One of the two `close` calls is dropped while it waits.
    let dropped = timeout(20 * MS, close(5 * MS));
    let (replies, one, two, dropped) = tokio::join!(calls, close(10 * MS), close(50 * MS), dropped);
    assert!(replies.iter().all(Result::is_ok) && dropped.is_err());
    assert_eq!(requests.sizes(), [1, 3]);
    assert!(one == two && one <= LATENCY + 8 * MS, "{one:?} {two:?}");
    batch.close().await;
    assert_eq!(send(&batch, "late").await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_no_caller_that_left() {
    let requests = Requests::default();
    let batch = BatchLayer::new(LIMITS).max_wait(5_000 * MS).layer(requests.kind());
    let calls = join_all((0..4).map(|n| send(&batch, &n.to_string())));
    let close = async {
        sleep(LATENCY / 2).await;
        batch.close().await;
    };
    // The callers leave while one request is in flight and the other calls wait.
    let (left, ()) = tokio::join!(timeout(LATENCY / 4, calls), close);
    assert!(left.is_err());
}

#[test]
fn runtime_that_ends_takes_its_callers_along() {
    let requests = Requests::default();
    let batch = BatchLayer::new(LIMITS).layer(requests.kind());
    let ended = runtime();
    let mut calls = [send(&batch, "a"), send(&batch, "b"), send(&batch, "c")];
    ended.block_on(async {
        for call in &mut calls {
            assert!(call.now_or_never().is_none());
        }
    });
    drop(ended);
    drop(calls);
    let (reply, stats) = runtime().block_on(async { (send(&batch, "d").await, batch.stats()) });
    assert_eq!((first(&reply), stats.calls), (vector("d"), 4));
}

#[test]
fn callers_of_two_runtimes_share_a_batch() {
    let requests = Requests::default();
    let batch = BatchLayer::new(LIMITS).layer(requests.kind());
    let (one, other) = (runtime(), runtime());
    let mut calls = [send(&batch, "busy"), send(&batch, "a"), send(&batch, "b")];
    let (busy, rest) = calls.split_at_mut(1);
    let (a, b) = rest.split_at_mut(1);
    one.block_on(async { assert!((&mut busy[0]).now_or_never().is_none()) });
    other.block_on(async { assert!((&mut a[0]).now_or_never().is_none()) });
    one.block_on(async { assert!((&mut b[0]).now_or_never().is_none()) });
    // The runtime of the caller that opened the batch ends, and with it the timer of the batch.
    drop(other);
    let both = async { timeout(9 * LATENCY, async { (busy[0].as_mut().await, b[0].as_mut().await) }).await };
    let answers = one.block_on(both);
    let (busy, b) = answers.expect("no caller hangs");
    assert_eq!(first(&busy), vector("busy"));
    assert!(b.is_err_and(|error| error.kind() == ErrorKind::Other), "the one that waited gets an error");
    assert_eq!(first(&one.block_on(send(&batch, "next"))), vector("next"));
}

#[test]
fn calls_without_runtime_are_sent_alone() {
    let inner = tower::service_fn(|call: llm_core::Call<llm_core::EmbedRequest>| async move {
        Ok::<_, Error>(crate::support::embeddings(&crate::support::texts(&call.body)))
    });
    let batch = BatchLayer::new(LIMITS).layer(inner);
    let mut all = Box::pin(join_all((0..9).map(|n| oneshot(batch.clone(), call(n.to_string())))));
    let answers = all.poll_unpin(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(answers, std::task::Poll::Ready(replies) if replies.iter().all(Result::is_ok)));
    assert_eq!(batch.stats().requests, 9);
}

#[tokio::test(start_paused = true)]
async fn service_that_panics_fails_its_batch_alone() {
    let requests = Requests::default();
    let batch = BatchLayer::new(LIMITS).layer(requests.vendor(|texts| {
        assert!(texts.len() != 3, "the service panics");
        None
    }));
    let replies = join_all(["busy", "a", "b", "c"].map(|text| send(&batch, text))).await;
    assert_eq!(first(&replies[0]), vector("busy"));
    assert!(replies[1..].iter().all(|reply| reply.as_ref().is_err_and(|error| error.kind() == ErrorKind::Other)));
    assert_eq!(first(&send(&batch, "next").await), vector("next"));
    batch.close().await;
}

/// Sends items one after the other. Some callers leave before they have a response.
async fn send_all(batcher: Batcher<u32, u32>, items: std::ops::Range<u32>) {
    for item in items {
        let mut call = Box::pin(batcher.submit(item));
        let response = match (&mut call).now_or_never() {
            None if item % 9 == 4 => continue,
            None => call.await,
            Some(response) => response,
        };
        assert_eq!(response.expect("it is answered"), item);
    }
}

#[test]
fn calls_of_several_threads_are_each_answered() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build();
    let runtime = runtime.expect("a runtime needs nothing");
    let layers = [BatchLayer::new(LIMITS), BatchLayer::new(BatchLimits::of_items(3)), BatchLayer::new(LIMITS).shadow()];
    for layer in layers {
        let batcher = Batcher::new(layer.max_wait(MS), |items: Vec<u32>| async move {
            tokio::task::yield_now().await;
            let is_bad = items.len() > 1 && items.iter().any(|item| item % 50 == 7);
            if is_bad { Err(Error::invalid("they are sent alone in the end")) } else { Ok(items) }
        });
        let callers = (0..32).map(|n| runtime.spawn(send_all(batcher.clone(), n * 50..(n + 1) * 50)));
        let callers = join_all(callers.collect::<Vec<_>>());
        runtime.block_on(async {
            assert!(callers.await.iter().all(Result::is_ok), "no caller gets another response than its own");
            batcher.close().await;
        });
        let stats = batcher.stats();
        assert_eq!((stats.calls, stats.refused), (1_600, 0));
        assert!(stats.requests > 0 && stats.requests <= stats.calls, "{stats:?}");
    }
}
