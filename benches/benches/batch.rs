//! Measures a call through micro-batches, compared with a call that is sent on its own.

use std::hint::black_box;

use benches::vendor::AtOnce;
use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use futures_util::future::join_all;
use llm_batch::{
    BatchLayer,
    pack::{Check, PackLayer},
};
use llm_core::{
    Call, ChatRequest, ChatResponse, Choice, EmbedRequest, Error, FinishReason, Part, Receipt, Reply,
    layer::{BatchLimits, LlmService, oneshot},
};
use llm_providers::{OpenAi, batch_limits};
use llm_testkit::Vendor;
use tower::{Layer, service_fn};

criterion_group!(name = benches; config = crate::short(); targets = lone, gathered, over_http, packed);

fn call(number: usize) -> Call<EmbedRequest> {
    Call::new("acme", EmbedRequest::new("text-embedding-3-small", [format!("a text of some words, number {number}")]))
}

/// Creates a vendor that responds only after one turn of the scheduler, so that calls that were polled meanwhile gather
/// in a batch.
fn soon() -> impl LlmService<EmbedRequest> + Sync {
    let vendor = AtOnce::saying("");
    service_fn(move |call| {
        let vendor = vendor.clone();
        async move {
            tokio::task::yield_now().await;
            oneshot(vendor, call).await
        }
    })
}

fn lone(c: &mut Criterion) {
    let runtime = crate::runtime();
    let mut group = c.benchmark_group("lone embedding");
    let vendor = AtOnce::saying("");
    let batch = BatchLayer::new(BatchLimits::of_items(2_048).with_tokens(300_000)).layer(vendor.clone());
    group.bench_function("micro-batched", |b| {
        b.iter_batched(|| call(7), |call| runtime.block_on(oneshot(batch.clone(), call)), BatchSize::SmallInput);
    });
    group.bench_function("floor: the service below", |b| {
        b.iter_batched(|| call(7), |call| runtime.block_on(oneshot(vendor.clone(), call)), BatchSize::SmallInput);
    });
    group.finish();
}

fn gathered(c: &mut Criterion) {
    let runtime = crate::runtime();
    for callers in [64, 1_000] {
        let mut group = c.benchmark_group(format!("embeddings of {callers} callers"));
        group.throughput(Throughput::Elements(callers as u64));
        let calls = || (0..callers).map(call).collect::<Vec<_>>();
        // The first call goes alone. The others fill one batch.
        let batch = BatchLayer::new(BatchLimits::of_items(callers - 1)).layer(soon());
        group.bench_function("micro-batched", |b| {
            let all = |calls: Vec<_>| {
                let calls = calls.into_iter().map(|call| oneshot(batch.clone(), call));
                black_box(runtime.block_on(join_all(calls)))
            };
            b.iter_batched(calls, all, BatchSize::SmallInput);
        });
        let vendor = soon();
        group.bench_function("floor: one by one, the service below", |b| {
            let all = |calls: Vec<_>| {
                let calls = calls.into_iter().map(|call| oneshot(vendor.clone(), call));
                black_box(runtime.block_on(join_all(calls)))
            };
            b.iter_batched(calls, all, BatchSize::SmallInput);
        });
        group.finish();
    }
}

/// Measures a thousand embeddings over HTTP to a vendor on loopback. 64 callers run at once, and each sends its calls
/// one after the other.
fn over_http(c: &mut Criterion) {
    const CALLERS: usize = 64;
    const CALLS: usize = 1_000;

    async fn embed(service: impl LlmService<EmbedRequest> + Sync) -> Result<(), Error> {
        let numbers = std::sync::atomic::AtomicUsize::new(0);
        let caller = async || {
            loop {
                let number = numbers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if number >= CALLS {
                    return Ok::<_, Error>(());
                }
                oneshot(service.clone(), call(number)).await?;
            }
        };
        futures_util::future::try_join_all((0..CALLERS).map(|_| caller())).await.map(drop)
    }

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime needs nothing");
    let vendor = Vendor::builder().dimensions(std::num::NonZeroUsize::MIN).build();
    let server = runtime.block_on(vendor.serve());
    let client = OpenAi::new("no-real-key").and_then(|client| client.base_url(&server.base_url()));
    let client = client.expect("the address is one");
    let mut group = c.benchmark_group("1,000 embeddings of 64 callers over HTTP");
    group.throughput(Throughput::Elements(CALLS as u64)).sample_size(10);
    let batch = BatchLayer::new(batch_limits::openai_embeddings()).layer(client.clone());
    group.bench_function("micro-batched", |b| b.iter(|| runtime.block_on(embed(batch.clone())).expect("all succeed")));
    group.bench_function("one by one", |b| b.iter(|| runtime.block_on(embed(client.clone())).expect("all succeed")));
    group.finish();
}

/// Returns the text of a response to a packed request, with an answer for every item. A request that is not packed has
/// no items, and gets an empty list.
fn packed_response(request: &ChatRequest) -> String {
    let text = request.messages.last().map(|message| match &message.parts[..] {
        [Part::Text { text, .. }] => &**text,
        _ => "",
    });
    let items = text.unwrap_or_default().split("\n[item ").skip(1).filter_map(|item| item.split_once("]\n"));
    let answer = |(id, item): (&str, &str)| {
        let nonce =
            item.strip_prefix("Answer with exactly this text and nothing else: ").and_then(|text| text.get(..16));
        format!("{{\"id\":\"{id}\",\"answer\":\"{}\"}}", nonce.unwrap_or("a short answer"))
    };
    format!("{{\"answers\":[{}]}}", items.map(answer).collect::<Vec<_>>().join(","))
}

/// Measures 64 prompts in packs of sixteen, and one by one. The vendor only encodes its response.
fn packed(c: &mut Criterion) {
    const PROMPTS: usize = 64;

    let runtime = crate::runtime();
    let vendor = service_fn(|call: Call<ChatRequest>| async move {
        let choice = Choice::new(0, vec![Part::text(packed_response(&call.body))], FinishReason::Stop);
        Ok::<_, Error>(Reply::new(ChatResponse::new("1", call.body.model, vec![choice]), Receipt::default()))
    });
    let calls = || {
        let request = ChatRequest::new("gpt-4o-mini").system("Name the trade of this position of a tender.");
        let request =
            |n: usize| request.clone().user(format!("position {n}: supply and install")).max_output_tokens(20);
        (0..PROMPTS).map(|n| Call::new("acme", request(n))).collect::<Vec<_>>()
    };
    let mut group = c.benchmark_group(format!("{PROMPTS} prompts"));
    group.throughput(Throughput::Elements(PROMPTS as u64));
    let pack = PackLayer::new(Check::new(0.0, 0.05)).start_size(16).layer(vendor);
    group.bench_function("packed by sixteen", |b| {
        let all = |calls: Vec<_>| {
            black_box(runtime.block_on(join_all(calls.into_iter().map(|call| oneshot(pack.clone(), call)))))
        };
        b.iter_batched(calls, all, BatchSize::SmallInput);
    });
    assert_eq!(pack.stats().repaired, 0, "each prompt has its response");
    group.bench_function("floor: one by one, the service below", |b| {
        let all =
            |calls: Vec<_>| black_box(runtime.block_on(join_all(calls.into_iter().map(|call| oneshot(vendor, call)))));
        b.iter_batched(calls, all, BatchSize::SmallInput);
    });
    group.finish();
}
