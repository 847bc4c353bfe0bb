//! Tests of settings and calls at their smallest and largest values.

use std::time::Duration;

use futures_util::future::join_all;
use llm_batch::{BatchLayer, Batcher};
use llm_core::{
    Call, EmbedRequest, ErrorKind,
    layer::{BatchLimits, oneshot},
};
use tokio::time::{Instant, timeout};
use tower::Layer;

use crate::support::{LATENCY, MS, Requests, call, first, vector};

fn no_items() -> BatchLimits {
    let mut limits = BatchLimits::of_items(64);
    limits.items = 0;
    limits
}

#[tokio::test(start_paused = true)]
async fn limits_of_zero_send_each_call_alone() {
    let limits = BatchLimits::of_items(64);
    for limits in [no_items(), BatchLimits::of_items(0), limits.with_tokens(0), limits.with_tokens_per_item(0)] {
        let requests = Requests::default();
        let batch = BatchLayer::new(limits).layer(requests.kind());
        let start = Instant::now();
        let replies = join_all((0..5).map(|n| oneshot(batch.clone(), call(n.to_string())))).await;
        assert!(replies.iter().enumerate().all(|(n, reply)| first(reply) == vector(&n.to_string())));
        assert_eq!((requests.sizes(), start.elapsed()), (vec![1; 5], LATENCY), "{limits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn max_wait_of_zero_adds_no_wait() {
    let requests = Requests::default();
    let batch = BatchLayer::new(BatchLimits::of_items(64)).max_wait(Duration::ZERO).layer(requests.kind());
    let start = Instant::now();
    let replies = join_all((0..9).map(|n| oneshot(batch.clone(), call(n.to_string())))).await;
    assert!(replies.iter().all(Result::is_ok));
    assert_eq!(start.elapsed(), LATENCY);
}

#[tokio::test(start_paused = true)]
async fn max_wait_of_any_length_is_accepted() {
    for wait in [Duration::MAX, Duration::MAX / 2, Duration::from_secs(u64::from(u32::MAX))] {
        let requests = Requests::default();
        let batch = BatchLayer::new(BatchLimits::of_items(64)).max_wait(wait).layer(requests.kind());
        let calls = join_all((0..9).map(|n| oneshot(batch.clone(), call(n.to_string()))));
        let close = async {
            tokio::time::sleep(MS).await;
            batch.close().await;
        };
        let (replies, ()) = tokio::join!(calls, close);
        assert!(replies.iter().all(Result::is_ok));
        assert_eq!(requests.sizes(), [1, 8]);
    }
}

#[tokio::test(start_paused = true)]
async fn max_pending_of_any_size_is_accepted() {
    for (items, tokens, served) in [(0, 0, 1), (usize::MAX, 0, 1), (0, u64::MAX, 1), (usize::MAX, u64::MAX, 9)] {
        let requests = Requests::default();
        let batch = BatchLayer::new(BatchLimits::of_items(64)).max_pending(items, tokens).layer(requests.kind());
        let replies = join_all((0..9).map(|n| oneshot(batch.clone(), call(n.to_string())))).await;
        assert_eq!(replies.iter().filter(|reply| reply.is_ok()).count(), served, "{items} {tokens}");
        let refused = replies.iter().filter_map(|reply| reply.as_ref().err());
        assert!(refused.clone().all(|error| error.kind() == ErrorKind::Overloaded));
        assert_eq!(refused.count(), 9 - served);
        batch.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn token_estimates_of_any_size_are_summed() {
    let settings = BatchLayer::new(BatchLimits::of_items(64)).max_pending(100, u64::MAX);
    let batcher = Batcher::new(settings, |items: Vec<u64>| async move {
        tokio::time::sleep(LATENCY).await;
        Ok(items)
    });
    let batcher = batcher.tokens(|item| *item);
    let one = |tokens| {
        let batcher = batcher.clone();
        async move { batcher.submit(tokens).await }
    };
    for tokens in [vec![u64::MAX], vec![1 << 30; 3], vec![0; 9], vec![u64::MAX / 2]] {
        let responses = join_all(tokens.iter().copied().map(one)).await;
        assert_eq!(responses.into_iter().map(Result::ok).collect::<Option<Vec<_>>>(), Some(tokens));
    }
}

#[tokio::test(start_paused = true)]
async fn request_without_items_moves_no_response() {
    let requests = Requests::default();
    let batch = BatchLayer::new(BatchLimits::of_items(64)).layer(requests.kind());
    let send = |texts: &'static [&'static str]| {
        oneshot(batch.clone(), Call::new("acme", EmbedRequest::new("m", texts.iter().copied())))
    };
    let (one, none, two, other) = tokio::join!(send(&["a"]), send(&[]), send(&["b", "c"]), send(&["d"]));
    assert_eq!(none.map(|reply| reply.output.vectors.len()).ok(), Some(0));
    let vectors = |reply: &Result<llm_core::Reply<llm_core::Embeddings>, _>| {
        reply.as_ref().map(|reply| reply.output.vectors.iter().map(|vector| vector[0]).collect::<Vec<_>>()).ok()
    };
    assert_eq!(vectors(&one), Some(vec![vector("a")]));
    assert_eq!(vectors(&two), Some(vec![vector("b"), vector("c")]));
    assert_eq!(vectors(&other), Some(vec![vector("d")]));
}

#[tokio::test(start_paused = true)]
async fn passed_deadline_is_sent_at_once() {
    let requests = Requests::default();
    let batch = BatchLayer::new(BatchLimits::of_items(64)).max_wait(500 * MS).layer(requests.kind());
    let start = Instant::now();
    let passed = |text: &'static str| oneshot(batch.clone(), call(text).with_deadline(start.into_std()));
    let all = async { tokio::join!(passed("first"), passed("second"), passed("third")) };
    let (one, two, three) = timeout(LATENCY + 2 * MS, all).await.expect("none waits");
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
}
