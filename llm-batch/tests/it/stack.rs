//! Tests of the batcher below a cache and a limiter, above a vendor that records its charges.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use llm_batch::BatchLayer;
use llm_cache::Cache;
use llm_core::{
    Call, EmbedRequest, Origin, Usd,
    layer::{BatchLimits, oneshot},
};
use llm_providers::{Ledger, OpenAi, batch_limits, prices};
use llm_ratelimit::{Limiter, Plans, RateLimitLayer};
use llm_testkit::{Latency, Vendor};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceBuilder};

use crate::support::{LATENCY, MS, Requests, vector};

fn request(texts: &[&str]) -> Call<EmbedRequest> {
    Call::new("acme", EmbedRequest::new("m", texts.iter().copied()))
}

#[tokio::test(start_paused = true)]
async fn cache_above_makes_one_further_request() {
    let requests = Requests::default();
    let cache = Cache::builder("stack").build().unwrap();
    let batch = BatchLayer::new(BatchLimits::of_items(64)).layer(requests.kind());
    let cached = llm_cache::CacheLayer::new(cache).layer(batch);
    let send = |texts: &'static [&'static str]| oneshot(cached.clone(), request(texts));
    let (one, two, three) = tokio::join!(send(&["a"]), send(&["b", "c", "a"]), send(&["d", "e", "f"]));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(three.unwrap().output.vectors.len(), 3);
    assert_eq!(requests.sizes(), [1, 5], "the text in flight is waited for");
    let start = Instant::now();
    let again = send(&["f", "c", "a", "e"]).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO, "a hit waits for no window");
    assert!(matches!(again.receipt.origin(), Origin::Cache { .. }));
    let vectors: Vec<f32> = again.output.vectors.iter().map(|vector| vector[0]).collect();
    assert_eq!(vectors, ["f", "c", "a", "e"].map(vector));
}

#[tokio::test(start_paused = true)]
async fn cache_above_keeps_bursts_together() {
    let requests = Requests::default();
    let batch = BatchLayer::new(BatchLimits::of_items(2_048)).layer(requests.kind());
    let cached = llm_cache::CacheLayer::new(Cache::builder("burst").build().unwrap()).layer(batch);
    let send = |n: usize| oneshot(cached.clone(), Call::new("acme", EmbedRequest::new("m", [format!("text {n}")])));
    assert!(join_all((0..200).map(send)).await.iter().all(Result::is_ok));
    assert_eq!(requests.sizes(), [1, 199]);
}

#[tokio::test(start_paused = true)]
async fn cache_above_hands_deadlines_of_waiters_down() {
    let requests = Requests::default();
    let batch = BatchLayer::new(BatchLimits::of_items(64)).max_wait(500 * MS).layer(requests.kind());
    let cached = llm_cache::CacheLayer::new(Cache::builder("deadlines").build().unwrap()).layer(batch);
    let start = Instant::now();
    let leads = async {
        oneshot(cached.clone(), request(&["shared"])).await.unwrap();
        start.elapsed()
    };
    // This call waits for the same text. Its deadline reaches the batch through the cache's shared call.
    let waits = async {
        sleep(10 * MS).await;
        let deadline = (Instant::now() + 50 * MS).into_std();
        oneshot(cached.clone(), request(&["shared"]).with_deadline(deadline)).await
    };
    let (_, leader, _) = tokio::join!(oneshot(cached.clone(), request(&["first"])), leads, waits);
    assert_eq!(requests.all(), [["first"], ["shared"]]);
    assert!(leader <= LATENCY + 35 * MS, "without the waiter it waits for 500 ms: {leader:?}");
}

/// Sends `calls` texts, each by a call of its own, through a ledger and a limiter above the batches. The calls for
/// which `leave` is true are cancelled while their request is in flight. Asserts that the limiter and the ledger agree
/// with the vendor's bill.
async fn books(calls: usize, leave: impl Fn(usize) -> bool) -> Usd {
    let builder = Vendor::builder().price("text-embedding-3-small", 20_000_000, 20_000_000, 0);
    let vendor = builder.latency(Latency::fixed(LATENCY, LATENCY)).build();
    let ledger = Ledger::new(prices::openai());
    let client = OpenAi::with_transport("sk-a", vendor.transport()).expect("the key is one");
    let plans = Plans::uniform(["1000000 tokens/day", "$10/day"]).expect("they are limits");
    let limiter = Limiter::builder(plans).prices(prices::openai()).build().expect("it is valid");
    let stack = ServiceBuilder::new()
        .layer(ledger.requests())
        .layer(RateLimitLayer::new(limiter.clone()))
        .layer(BatchLayer::new(batch_limits::openai_embeddings()))
        .layer(ledger.attempts())
        .service(client);
    let one = |n: usize| {
        let text: Arc<str> = format!("text {n} {}", "x".repeat(n % 50)).into();
        let stay = if leave(n) { LATENCY / 2 } else { 9 * LATENCY };
        let call = Call::new("acme", EmbedRequest::new("text-embedding-3-small", [text]));
        timeout(stay, oneshot(stack.clone(), call))
    };
    let replies = join_all((0..calls).map(one)).await;
    for (n, reply) in replies.iter().enumerate() {
        assert_eq!(reply.as_ref().is_ok_and(Result::is_ok), !leave(n));
    }
    let bills = vendor.bills();
    assert_eq!(bills.len(), 2);
    let tokens: u64 = bills.iter().map(|bill| bill.input_tokens + bill.output_tokens).sum();
    let used: Vec<u64> = limiter.usage("acme").await.iter().map(|status| status.used).collect();
    let billed = vendor.total_billed();
    assert_eq!(used, [tokens, billed]);
    let snapshot = ledger.snapshot();
    let total = snapshot.total();
    assert_eq!(u64::try_from(total.paid.nanos()).ok(), Some(billed));
    assert!(total.balance().is_balanced());
    total.wasted.total()
}

#[tokio::test(start_paused = true)]
async fn limits_above_equal_the_vendors_bill() {
    assert_eq!(books(100, |_| false).await, Usd::ZERO);
}

#[tokio::test(start_paused = true)]
async fn callers_that_left_are_billed_their_shares() {
    assert!(books(100, |n| n % 3 == 1).await > Usd::ZERO, "what they paid is wasted");
}
