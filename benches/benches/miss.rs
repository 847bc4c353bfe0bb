//! What does the layer add to a call that must be made?

use std::{hint::black_box, sync::Arc};

use benches::{
    hit::{at_once, of_2_kb},
    vendor::AtOnce,
};
use criterion::{BatchSize, Criterion, criterion_group};
use llm_cache::{Cache, Cached, Directive};
use llm_core::{Call, ChatRequest};

criterion_group!(name = benches; config = crate::short(); targets = miss);

fn miss(c: &mut Criterion) {
    let mut group = c.benchmark_group("miss, 2 KB prompt, 2 KB answer");
    let text = of_2_kb("a login form ");
    let mut number = 0_u64;
    let mut unseen = || {
        number += 1;
        Call::new("acme", ChatRequest::new("gpt-4o-mini").user(format!("{number} {text}")))
    };
    let mut vendor = AtOnce::saying(&of_2_kb("given a user when "));
    // Small enough to be full soon: most answers drive another one out.
    let cache = Cache::builder("bench").max_bytes(8 << 20).build().expect("the settings are right");
    let mut layer = Cached::new(vendor.clone(), cache);

    group.bench_function("whole layer, answer stored", |b| {
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
    let answer = vendor.answer().clone();
    group.bench_function("floor: weighing the answer as JSON", |b| {
        b.iter(|| serde_json::to_writer(std::io::sink(), black_box(&answer)));
    });
    group.finish();
}
