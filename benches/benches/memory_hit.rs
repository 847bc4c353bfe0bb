//! Measures a cache hit in memory, compared with the parts that any such cache must do.

use std::{hash::BuildHasher, hint::black_box, sync::Arc};

use benches::hit::Warm;
use criterion::{BatchSize, Criterion, criterion_group};

criterion_group!(name = benches; config = crate::short(); targets = memory_hit);

fn memory_hit(c: &mut Criterion) {
    let mut group = c.benchmark_group("memory hit, 2 KB prompt, 2 KB response");
    let mut warm = Warm::new();
    let call = warm.call.clone();
    group.bench_function("whole layer", |b| {
        b.iter_batched(|| call.clone(), |call| black_box(warm.send(call)), BatchSize::SmallInput);
    });

    let mut buffer = Vec::new();
    group.bench_function("floor: canonical encoding", |b| {
        b.iter(|| {
            buffer = warm.encode(std::mem::take(&mut buffer));
            black_box(&buffer);
        });
    });
    let bytes = warm.encode(Vec::new());
    let hasher = foldhash::quality::RandomState::default();
    group.bench_function("floor: hash in the process", |b| b.iter(|| hasher.hash_one(black_box(&bytes[..]))));
    group.bench_function("floor: blake3, for names outside", |b| b.iter(|| blake3::hash(black_box(&bytes))));

    let moka = moka::sync::Cache::builder().max_capacity(1_000).build_with_hasher(hasher);
    moka.insert(bytes.clone(), Arc::new(warm.response.clone()));
    group.bench_function("floor: moka get of these bytes", |b| b.iter(|| black_box(moka.get(black_box(&bytes[..])))));
    group.bench_function("floor: clone of the response", |b| b.iter(|| black_box(black_box(&warm.response).clone())));
    group.finish();
}
