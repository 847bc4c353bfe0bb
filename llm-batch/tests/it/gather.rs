//! Tests of calls that are gathered, sent at once, or sent alone.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::{join_all, poll_immediate};
use llm_batch::BatchLayer;
use llm_core::{
    Call, ChatRequest, ChatResponse, ChatStream, EmbedRequest, Error, Priority, Receipt, Reply,
    layer::{BatchLimits, Members, NoFallback, Pinned, Streamed, oneshot},
};
use tokio::time::{Instant, sleep};
use tower::{Layer, service_fn};

use crate::support::{LATENCY, MS, Requests, call, first, vector};

const LIMITS: BatchLimits = BatchLimits::of_items(64);

#[tokio::test(start_paused = true)]
async fn lone_call_is_sent_at_once() {
    let requests = Requests::default();
    let batch = BatchLayer::new(LIMITS).layer(requests.kind());
    let start = Instant::now();
    for text in ["a", "b"] {
        assert_eq!(first(&oneshot(batch.clone(), call(text)).await), vector(text));
    }
    assert_eq!((start.elapsed(), requests.sizes()), (2 * LATENCY, vec![1, 1]));
}

#[tokio::test(start_paused = true)]
async fn calls_gather_while_one_is_in_flight() {
    let requests = Requests::default();
    let batch = BatchLayer::new(LIMITS).layer(requests.kind());
    let texts: Vec<String> = (0..65).map(|n| format!("text {n}")).collect();
    let replies = join_all(texts.iter().map(|text| oneshot(batch.clone(), call(&**text)))).await;
    assert!(texts.iter().zip(&replies).all(|(text, reply)| first(reply) == vector(text)));
    assert_eq!(requests.sizes(), [1, 64]);
    assert_eq!(batch.stats().saved(), 63);
}

#[tokio::test(start_paused = true)]
async fn batch_is_sent_after_max_wait() {
    let requests = Requests::default();
    let batch = BatchLayer::new(LIMITS).max_wait(4 * MS).layer(requests.kind());
    let start = Instant::now();
    let later = async |wait: Duration, text: &'static str| {
        sleep(wait).await;
        let reply = oneshot(batch.clone(), call(text)).await;
        assert_eq!(first(&reply), vector(text));
        start.elapsed()
    };
    let times = tokio::join!(later(Duration::ZERO, "a"), later(MS, "b"), later(2 * MS, "c"), later(20 * MS, "d"));
    assert_eq!(requests.sizes(), [1, 2, 1]);
    assert!(times.1 <= LATENCY + 6 * MS && times.2 == times.1, "{times:?}");
    assert!(times.3 <= LATENCY + 25 * MS, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn batch_wait_adapts_to_arrivals() {
    // At one call per millisecond, three places are filled in three milliseconds, well before the longest wait.
    let requests = Requests::default();
    let batch = BatchLayer::new(BatchLimits::of_items(3)).max_wait(50 * MS).layer(requests.kind());
    let start = Instant::now();
    let caller = async |n: u32| {
        sleep(n * MS).await;
        oneshot(batch.clone(), call(format!("text {n}"))).await.expect("it is answered");
        start.elapsed() - n * MS - LATENCY
    };
    let waits = join_all((0..40).map(caller)).await;
    // The last two calls find no third one. They wait for about the time in which one would have arrived.
    assert!(waits[39] <= 10 * MS, "{waits:?}");
    assert!(requests.sizes().len() <= 16, "{:?}", requests.sizes());
}

#[tokio::test(start_paused = true)]
async fn tenants_and_priorities_share_no_batch() {
    let requests = Requests::default();
    let batch = BatchLayer::new(LIMITS).layer(requests.kind());
    let calls = |round: u32| {
        let pinned = |mut call: Call<EmbedRequest>| {
            call.extensions.insert(Pinned::to("eu"));
            call
        };
        [
            call(format!("{round} acme")),
            Call::new("other", EmbedRequest::new("m", [format!("{round} other")])),
            call(format!("{round} background")).with_priority(Priority::Background),
            Call::new("acme", EmbedRequest::new("m2", [format!("{round} model")])),
            pinned(call(format!("{round} pinned"))),
        ]
    };
    let all = (0..4).flat_map(calls).map(|call| oneshot(batch.clone(), call));
    assert!(join_all(all).await.iter().all(Result::is_ok));
    let groups: Vec<Vec<String>> = requests.all().into_iter().filter(|texts| texts.len() > 1).collect();
    assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [3; 5]);
    for texts in groups {
        let name = |text: &String| text.split(' ').nth(1).map(str::to_owned);
        assert!(texts.iter().all(|text| name(text) == name(&texts[0])), "{texts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_pass_through_while_others_run() {
    let seen = Arc::new(Mutex::new(0));
    let count = Arc::clone(&seen);
    let inner = service_fn(move |call: Call<Streamed<ChatRequest>>| {
        *count.lock().expect("no test panics holding it") += 1;
        async move {
            sleep(LATENCY).await;
            assert!(call.extensions.get::<Members>().is_none());
            Ok::<_, Error>(Reply::new(ChatStream::new(futures_util::stream::empty()), Receipt::default()))
        }
    });
    let batch = BatchLayer::new(LIMITS).layer(inner);
    let one = || oneshot(batch.clone(), Call::new("acme", Streamed(ChatRequest::new("m").user("hello"))));
    let mut calls = [Box::pin(one()), Box::pin(one()), Box::pin(one())];
    for call in &mut calls {
        assert!(poll_immediate(call).await.is_none());
    }
    assert_eq!((*seen.lock().expect("no test panics holding it"), batch.stats().calls), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn calls_without_merge_key_pass_through() {
    let inner = service_fn(|call: Call<ChatRequest>| async move {
        sleep(LATENCY).await;
        Ok::<_, Error>(Reply::new(ChatResponse::new("1", call.body.model, vec![]), Receipt::default()))
    });
    let batch = BatchLayer::new(LIMITS).layer(inner);
    let start = Instant::now();
    let one = |_| oneshot(batch.clone(), Call::new("acme", ChatRequest::new("m").user("hello")));
    assert!(join_all((0..5).map(one)).await.iter().all(Result::is_ok));
    assert_eq!((start.elapsed(), batch.stats().calls), (LATENCY, 0));
}

#[tokio::test(start_paused = true)]
async fn oversize_item_is_sent_alone() {
    let requests = Requests::default();
    let limits = BatchLimits::of_items(64).with_tokens_per_item(100).with_tokens(1_000);
    let batch = BatchLayer::new(limits).layer(requests.kind());
    let texts: Vec<String> = [3, 4, 500, 5, 9_000, 6].map(|size| "x".repeat(size)).into();
    let start = Instant::now();
    let replies = join_all(texts.iter().map(|text| oneshot(batch.clone(), call(&**text)))).await;
    assert!(texts.iter().zip(&replies).all(|(text, reply)| first(reply) == vector(text)));
    assert_eq!(requests.sizes(), [1, 1, 1, 3]);
    assert!(start.elapsed() < LATENCY + 15 * MS);
}

#[tokio::test(start_paused = true)]
async fn batch_stays_below_token_limit() {
    let requests = Requests::default();
    // Each text is estimated at 26 tokens, but takes 100.
    let batch = BatchLayer::new(BatchLimits::of_items(64).with_tokens(1_000)).layer(requests.kind());
    let round = async |round: u32| {
        let texts = (0..30).map(|n| format!("{round:04}{n:096}"));
        let replies = join_all(texts.map(|text| oneshot(batch.clone(), call(text)))).await;
        assert!(replies.iter().all(Result::is_ok));
    };
    round(0).await;
    let sent = requests.sizes();
    assert_eq!(sent, [1, 29], "the estimates are taken as they are");
    round(1).await;
    let learned: Vec<_> = requests.sizes().split_off(sent.len());
    assert!(learned.iter().all(|texts| texts * 100 <= 900), "what was learned of the model holds: {learned:?}");
    let mut other = call("x".repeat(99));
    other.extensions.insert(NoFallback);
    assert!(oneshot(batch, other).await.is_ok());
}
