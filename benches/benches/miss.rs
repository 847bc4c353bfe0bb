//! Measures the time that the cache layer adds to a call that must be sent.

use std::{fmt::Debug, hash::Hash, hint::black_box, sync::Arc};

use benches::{
    hit::{at_once, of_2_kb},
    vendor::AtOnce,
};
use criterion::{BatchSize, Criterion, criterion_group};
use futures_util::FutureExt;
use llm_cache::{Cache, Cached, Directive};
use llm_core::{Call, ChatRequest, ChatResponse, Message, Part, Reply, chat::Sampling};
use serde::Serialize;
use tower::{Service, ServiceBuilder};

criterion_group!(name = benches; config = crate::short(); targets = miss);

fn miss(c: &mut Criterion) {
    let mut group = c.benchmark_group("miss, 2 KB prompt, 2 KB response");
    let text = of_2_kb("a login form ");
    let mut number = 0_u64;
    let mut unseen = || {
        number += 1;
        Call::new("acme", ChatRequest::new("gpt-4o-mini").user(format!("{number} {text}")))
    };
    let mut vendor = AtOnce::saying(&of_2_kb("given a user when "));
    // The limit is small, so that the cache is soon full and most responses evict another one.
    let cache = Cache::builder("bench").max_bytes(8 << 20).build().expect("the settings are right");
    let mut layer = Cached::new(vendor.clone(), cache);

    group.bench_function("whole layer, response stored", |b| {
        b.iter_batched(&mut unseen, |call| black_box(at_once(&mut layer, call)), BatchSize::SmallInput);
    });
    group.bench_function("whole layer, no-store", |b| {
        let call = || {
            let mut call = unseen();
            call.extensions.insert(Directive::new().no_store());
            call
        };
        b.iter_batched(call, |call| black_box(at_once(&mut layer, call)), BatchSize::SmallInput);
    });
    group.bench_function("floor: the service below", |b| {
        b.iter_batched(&mut unseen, |call| black_box(at_once(&mut vendor, call)), BatchSize::SmallInput);
    });
    let mut text_alone = peer(vendor.clone(), prompt);
    group.bench_function("peer: tower-resilience, cache over coalesce, keyed by the prompt's text alone", |b| {
        b.iter_batched(&mut unseen, |call| black_box(at_peer(&mut text_alone, call)), BatchSize::SmallInput);
    });
    let mut whole_request = peer(vendor.clone(), json);
    group.bench_function("peer: tower-resilience, cache over coalesce, keyed by the whole request as JSON", |b| {
        b.iter_batched(&mut unseen, |call| black_box(at_peer(&mut whole_request, call)), BatchSize::SmallInput);
    });
    let full = moka::sync::Cache::builder().max_capacity(8 << 20).weigher(|_: &u64, _| 5_000);
    let full = full.eviction_policy(moka::policy::EvictionPolicy::lru()).build();
    let mut at = 0_u64;
    group.bench_function("floor: a full moka takes 2 KB and makes room", |b| {
        let entry = || {
            at += 1;
            (at, Arc::new(text.clone()))
        };
        let put = |(at, text)| {
            full.insert(at, text);
            full.run_pending_tasks();
        };
        b.iter_batched(entry, put, BatchSize::SmallInput);
    });
    let response = vendor.response().clone();
    group.bench_function("floor: weighing the response as JSON", |b| {
        b.iter(|| serde_json::to_writer(std::io::sink(), black_box(&response)));
    });
    group.finish();
}

/// Number of entries of 5 KB that the measured cache holds in its 8 MiB.
const ENTRIES: usize = 1_600;

/// Creates the layers of the compared library over the same service. Its cache and its coalescing layer both use `key`.
fn peer<K>(
    vendor: AtOnce,
    key: fn(&Call<ChatRequest>) -> K,
) -> impl Service<Call<ChatRequest>, Response = ChatResponse, Error: Debug>
where
    K: Clone + Debug + Eq + Hash + Send + Sync + 'static,
{
    let cache = tower_resilience_cache::CacheLayer::builder().max_size(ENTRIES).key_extractor(key).build();
    ServiceBuilder::new()
        .layer(cache.expect("the settings are right"))
        .layer(tower_resilience_coalesce::CoalesceLayer::new(key))
        .map_response(|reply: Reply<ChatResponse>| reply.output)
        .service(vendor)
}

fn at_peer<S>(peer: &mut S, call: Call<ChatRequest>) -> ChatResponse
where
    S: Service<Call<ChatRequest>, Response = ChatResponse, Error: Debug>,
{
    peer.call(call).now_or_never().expect("nothing here waits").expect("nothing here fails")
}

/// Returns the text of the prompt. This is the cheapest key possible, but calls with another model or temperature share
/// it.
fn prompt(call: &Call<ChatRequest>) -> Arc<str> {
    match &call.body.messages[0].parts[0] {
        Part::Text { text, .. } => Arc::clone(text),
        other => panic!("the prompt is text, not {other:?}"),
    }
}

/// Returns the request as JSON, as an application would encode a request type of its own that derives `Serialize`.
fn json(call: &Call<ChatRequest>) -> String {
    let ChatRequest { model, messages, sampling, .. } = &call.body;
    let Sampling { temperature, top_p, max_output_tokens, seed, .. } = *sampling;
    let body = Body { model, messages, temperature, top_p, max_output_tokens, seed };
    serde_json::to_string(&body).expect("it is serializable")
}

/// Request type of an application that sets no other fields than these.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: &'a [Message],
    temperature: Option<f64>,
    top_p: Option<f64>,
    max_output_tokens: Option<u64>,
    seed: Option<i64>,
}
