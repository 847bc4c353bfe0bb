//! Measures the choice of a key, by the number of unavailable keys, and a call through the pool.

use std::hint::black_box;

use benches::{
    hit::{at_once, call_of, of_2_kb},
    keypool::{Keys, three},
    vendor::AtOnce,
};
use criterion::{BatchSize, Criterion, criterion_group};

criterion_group! {
    name = benches;
    config = crate::short();
    targets = choose, call
}

fn choose(c: &mut Criterion) {
    let mut group = c.benchmark_group("pool of keys, lease and report");
    group.bench_function("floor: the clock, twice", |b| {
        b.iter(|| (tokio::time::Instant::now(), black_box(tokio::time::Instant::now())));
    });
    for (name, keys) in [
        ("3 keys", Keys::open(3)),
        ("100 keys", Keys::open(100)),
        ("1,000 keys, 500 limited", Keys::limited(1_000, 500)),
        ("30,000 keys, 29,000 rejected", Keys::rejected(30_000, 29_000)),
    ] {
        group.bench_function(name, |b| b.iter(|| keys.serve()));
    }
    group.finish();
}

fn call(c: &mut Criterion) {
    let mut group = c.benchmark_group("call through a pool, 2 KB prompt, 2 KB response");
    let mut client = AtOnce::saying(&of_2_kb("given a user when "));
    let call = || call_of("acme");
    let mut pool = three(&client);
    group.bench_function("floor: the client", |b| {
        b.iter_batched(call, |call| black_box(at_once(&mut client, call)), BatchSize::SmallInput);
    });
    group.bench_function("three members", |b| {
        b.iter_batched(call, |call| black_box(at_once(&mut pool, call)), BatchSize::SmallInput);
    });
    group.finish();
}
