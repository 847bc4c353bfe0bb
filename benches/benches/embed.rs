//! Measures a request to embed many texts, most of which are in the cache.

use std::{hint::black_box, sync::Arc};

use benches::{hit::at_once, vendor::AtOnce};
use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use llm_cache::{Cache, Cached};
use llm_core::{Call, EmbedRequest};

criterion_group!(name = benches; config = crate::short(); targets = embed);

const TEXTS: usize = 100;
const KNOWN: usize = 97;

fn embed(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("{TEXTS} texts to embed, 256 numbers each"));
    group.throughput(Throughput::Elements(TEXTS as u64));
    let mut vendor = AtOnce::saying("");
    let cache = Cache::builder("bench").build().expect("the defaults are right");
    let mut layer = Cached::new(vendor.clone(), cache);

    let known: Vec<Arc<str>> = (0..TEXTS).map(|number| format!("known text {number}").into()).collect();
    let whole = Call::new("acme", EmbedRequest::new("text-embedding-3-small", known.iter().cloned()));
    drop(at_once(&mut layer, whole.clone()));
    let mut number = 0_u64;
    let mut partly = || {
        let fresh = (KNOWN..TEXTS).map(|_| {
            number += 1;
            format!("new text {number}").into()
        });
        let texts: Vec<Arc<str>> = known[..KNOWN].iter().cloned().chain(fresh).collect();
        Call::new("acme", EmbedRequest::new("text-embedding-3-small", texts))
    };

    group.bench_function(format!("whole layer, {KNOWN} known"), |b| {
        b.iter_batched(&mut partly, |call| black_box(at_once(&mut layer, call)), BatchSize::SmallInput);
    });
    group.bench_function("whole layer, all known", |b| {
        b.iter_batched(|| whole.clone(), |call| black_box(at_once(&mut layer, call)), BatchSize::SmallInput);
    });
    group.bench_function("floor: the service below, all sent", |b| {
        b.iter_batched(|| whole.clone(), |call| black_box(at_once(&mut vendor, call)), BatchSize::SmallInput);
    });
    let map: std::collections::HashMap<Arc<str>, Arc<[f32]>> =
        known.iter().map(|text| (text.clone(), vec![0.5; 256].into())).collect();
    group.bench_function("floor: as many look-ups in a HashMap", |b| {
        b.iter(|| known.iter().map(|text| map.get(black_box(text)).cloned()).collect::<Vec<_>>());
    });
    group.finish();
}
