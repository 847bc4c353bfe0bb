//! Tests of embeddings, which are answered item by item.

use std::{sync::Arc, time::Duration};

use llm_cache::{Cache, CacheLayer, CacheStatus, Directive, Miss};
use llm_core::{Call, EmbedRequest, Embeddings, ManualClock, Origin, Provider, Reply, into_provider};
use llm_providers::{Ledger, OpenAi};
use llm_testkit::{Latency, Vendor};
use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};
use tower::ServiceBuilder;

use crate::{
    conformance::TestStore,
    upstream::{cache, prices},
};

const MODEL: &str = "text-embedding-3-small";

struct Stack {
    vendor: Vendor,
    cache: Cache,
    ledger: Ledger,
    provider: Arc<dyn Provider>,
}

fn stack(latency: Latency) -> Stack {
    stack_over(cache(&ManualClock::default()), latency)
}

fn stack_over(cache: Cache, latency: Latency) -> Stack {
    let table = prices();
    let price = table.model(MODEL).and_then(|model| model.at(1)).expect("a model of the table");
    let vendor = Vendor::builder().latency(latency).price(MODEL, price.input.nanos(), price.input.nanos(), 0).build();
    let ledger = Ledger::new(table);
    let client = OpenAi::with_transport("no-real-key", vendor.transport()).expect("the key is a header value");
    let layers = ServiceBuilder::new().layer(ledger.requests()).layer(CacheLayer::new(cache.clone()));
    let provider = into_provider(layers.layer(ledger.attempts()).service(client));
    Stack { vendor, cache, ledger, provider }
}

fn texts(numbers: impl IntoIterator<Item = u32>) -> Call<EmbedRequest> {
    Call::new("acme", EmbedRequest::new(MODEL, numbers.into_iter().map(|n| format!("text number {n}"))))
}

impl Stack {
    async fn embed(&self, numbers: impl IntoIterator<Item = u32>) -> Reply<Embeddings> {
        self.provider.embed(texts(numbers)).await.expect("the vendor answers")
    }

    /// Returns the numbers of texts in the vendor's calls, the newest call first.
    fn asked(&self) -> Vec<usize> {
        let count = |body: &[u8]| -> usize {
            let body: serde_json::Value = serde_json::from_slice(body).expect("requests are JSON");
            body["input"].as_array().map_or(1, Vec::len)
        };
        self.vendor.requests().iter().map(|request| count(request.body())).collect()
    }

    fn check(&self) {
        let books = self.ledger.snapshot();
        assert!(books.balance().is_balanced(), "{books}");
        assert_eq!(
            books.total().paid.nanos(),
            i64::try_from(self.vendor.total_billed()).expect("a small bill"),
            "{books}"
        );
        let stats = self.cache.stats();
        assert_eq!((stats.running, self.vendor.in_flight()), (0, 0));
    }
}

pub(crate) async fn embed_partial_hit_sends_missing_items(store: TestStore) {
    let stack = stack_over(store.open(), Latency::zero());
    let all = stack.embed(0..97).await;
    let reply = stack.embed(0..100).await;
    assert_eq!(stack.asked(), [3, 97]);
    assert_eq!(CacheStatus::of(&reply), CacheStatus::Miss(Miss::Items { sent: 3, stale: None }));
    assert_eq!(reply.output.vectors[..97], all.output.vectors[..], "in order");
    assert_eq!(reply.output.vectors.len(), 100);
    let alone = stack.embed([98]).await;
    assert_eq!(alone.output.vectors, [reply.output.vectors[98].clone()], "each under its own index");
    assert!(matches!(alone.receipt.origin(), Origin::Cache { .. }));
    drop((all, reply, alone));
    stack.check();
}

pub(crate) async fn items_duplicates_are_sent_once(store: TestStore) {
    let stack = stack_over(store.open(), Latency::zero());
    let reply = stack.embed([7, 8, 7, 9, 8]).await;
    let vectors = &reply.output.vectors;
    assert_eq!((&vectors[0], &vectors[1]), (&vectors[2], &vectors[4]));
    assert_ne!(vectors[0], vectors[1]);
    assert_eq!(stack.asked(), [3]);
    drop(reply);
    stack.check();
}

#[tokio::test(start_paused = true)]
async fn embed_items_in_flight_are_awaited() {
    let stack = stack(Latency::fixed(Duration::from_millis(50), Duration::ZERO));
    let (a, b, c) = tokio::join!(stack.embed(0..60), stack.embed(40..100), stack.embed([50, 70]));
    assert_eq!(stack.asked(), [40, 60], "the third found all of its texts under way");
    assert_eq!(c.receipt.origin(), Origin::Coalesced);
    assert_eq!(a.output.vectors[40..], b.output.vectors[..20]);
    assert_eq!(c.output.vectors, [a.output.vectors[50].clone(), b.output.vectors[30].clone()]);
    drop((a, b, c));
    stack.check();
}

#[tokio::test(start_paused = true)]
async fn items_join_single_flight_of_one_text() {
    let stack = stack(Latency::fixed(Duration::from_millis(50), Duration::ZERO));
    let (one, many) = tokio::join!(stack.embed([3]), stack.embed(0..5));
    assert_eq!(stack.asked(), [4, 1]);
    assert_eq!(one.output.vectors[0], many.output.vectors[3]);
    drop((one, many));
    stack.check();
}

#[tokio::test(start_paused = true)]
async fn items_with_no_cache_replace_entries() {
    let stack = stack(Latency::zero());
    stack.embed(0..4).await;
    let mut call = texts(0..3);
    call.extensions.insert(Directive::new().no_cache());
    stack.provider.embed(call).await.unwrap();
    stack.embed(0..4).await;
    assert_eq!(stack.asked(), [3, 4]);
    stack.check();
}

#[tokio::test(start_paused = true)]
async fn items_usage_and_cost_sum_to_call() {
    let stack = stack(Latency::zero());
    let whole = stack.embed(0..7).await;
    let (mut usage, mut cost) = (llm_core::Usage::default(), llm_core::Usd::ZERO);
    for n in 0..7 {
        let one = stack.embed([n]).await;
        usage += one.receipt.usage().unwrap();
        cost += one.receipt.cost().unwrap();
        assert_eq!(one.receipt.saved(), one.receipt.cost().unwrap());
    }
    assert_eq!((Some(usage), Some(cost)), (whole.receipt.usage(), whole.receipt.cost()));
    assert_eq!(whole.receipt.paid().exact(), Some(cost));
}

/// Random overlapping requests, of which some are cancelled at random times.
#[tokio::test(start_paused = true)]
async fn items_of_overlapping_requests_survive_cancellation() {
    for seed in 0..30u8 {
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let stack = stack(Latency::fixed(Duration::from_millis(40), Duration::ZERO));
        let tasks: Vec<_> = (0..40)
            .map(|_| {
                let (from, length) = (random.next_u32() % 60, 1 + random.next_u32() % 12);
                let start = Duration::from_millis(u64::from(random.next_u32() % 120));
                let stay = match random.next_u32() % 3 {
                    0 => Duration::from_millis(u64::from(random.next_u32() % 60)),
                    _ => Duration::from_secs(60),
                };
                let provider = Arc::clone(&stack.provider);
                tokio::spawn(async move {
                    tokio::time::sleep(start).await;
                    let reply = tokio::time::timeout(stay, provider.embed(texts(from..from + length))).await.ok()?;
                    let vectors = reply.expect("the vendor answers").output.vectors;
                    Some((from..from + length).zip(vectors).collect::<Vec<_>>())
                })
            })
            .collect();
        let mut seen = std::collections::HashMap::new();
        for task in tasks {
            for (number, vector) in task.await.unwrap().unwrap_or_default() {
                assert_eq!(*seen.entry(number).or_insert_with(|| vector.clone()), vector, "seed {seed}, text {number}");
            }
        }
        let distinct: std::collections::HashSet<_> = seen.values().map(|vector| format!("{vector:?}")).collect();
        assert_eq!(distinct.len(), seen.len(), "seed {seed}: different texts have different vectors");
        let books = stack.ledger.snapshot();
        assert!(books.balance().is_balanced(), "seed {seed}\n{books}");
        assert_eq!((stack.cache.stats().running, stack.vendor.in_flight()), (0, 0));
    }
}
