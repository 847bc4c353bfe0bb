//! What does a hit in Redis cost beside a bare `GET` of the same bytes on the same connection?

use std::{hint::black_box, time::Instant};

use benches::redis::Remote;
use criterion::{Criterion, criterion_group};
use llm_core::ChatResponse;

criterion_group!(name = benches; config = crate::short(); targets = redis);

fn redis(c: &mut Criterion) {
    let remote = Remote::new();
    let text = serde_json::to_vec(&remote.answer).expect("an answer is JSON");
    for calls in [1, 64] {
        let mut group = c.benchmark_group(format!("redis, 2 KB answer, {calls} in flight"));
        group.throughput(criterion::Throughput::Elements(calls as u64));
        group.bench_function("hit, whole layer", |b| b.iter(|| remote.hits(calls)));
        group.bench_function("floor: GET of the same bytes", |b| b.iter(|| remote.gets(calls)));
        group.bench_function("decoding its JSON", |b| {
            b.iter(|| {
                for _ in 0..calls {
                    drop(black_box(serde_json::from_slice::<ChatResponse>(black_box(&text)).expect("it is one")));
                }
            });
        });
        group.bench_function("miss that leads, fails, and gives its lease back", |b| b.iter(|| remote.leases(calls)));
        group.bench_function("miss that leads, and is written", |b| b.iter(|| remote.stores(calls)));
        group.finish();
        println!("redis, {calls} in flight: a hit takes {:.2} times a GET", ratio(&remote, calls));
    }
}

/// What a hit takes beside a `GET`, both in turn, so that a busy machine hinders both.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures the wall clock")]
fn ratio(remote: &Remote, calls: usize) -> f64 {
    let (mut hits, mut gets) = (Vec::new(), Vec::new());
    for _ in 0..2_000 / calls.min(8) {
        let start = Instant::now();
        remote.hits(calls);
        let between = Instant::now();
        remote.gets(calls);
        hits.push(between - start);
        gets.push(between.elapsed());
    }
    hits.sort_unstable();
    gets.sort_unstable();
    hits[hits.len() / 2].as_secs_f64() / gets[gets.len() / 2].as_secs_f64()
}
