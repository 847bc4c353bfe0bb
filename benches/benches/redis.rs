//! Measures a cache hit in Redis, compared with a bare `GET` of the same bytes on the same connection.

use std::{hint::black_box, time::Instant};

use benches::redis::Remote;
use bytes::Bytes;
use criterion::{Criterion, criterion_group};
use llm_cache::fuzzing::response;
use llm_core::ChatResponse;

criterion_group!(name = benches; config = crate::short(); targets = redis);

fn redis(c: &mut Criterion) {
    let remote = Remote::new();
    let value = remote.value();
    for calls in [1, 64] {
        let mut group = c.benchmark_group(format!("redis, 2 KB response, {calls} in flight"));
        group.throughput(criterion::Throughput::Elements(calls as u64));
        group.bench_function("hit, whole layer", |b| b.iter(|| remote.hits(calls)));
        group.bench_function("floor: GET of the same bytes", |b| b.iter(|| remote.gets(calls)));
        group.bench_function("decoding alone: check, unpack, read", |b| b.iter(|| decode(&value, calls)));
        group.bench_function("miss that leads, fails, and gives its lease back", |b| b.iter(|| remote.leases(calls)));
        group.bench_function("miss that leads, and is written", |b| b.iter(|| remote.stores(calls)));
        group.finish();
        let [hit, get, decoding] = in_turn(&remote, &value, calls);
        println!(
            "redis, {calls} in flight: a hit takes {:.2} times a GET, and {:.2} times without decoding",
            hit / get,
            (hit - decoding) / get
        );
    }
}

fn decode(value: &Bytes, calls: usize) {
    for _ in 0..calls {
        drop(black_box(response::<ChatResponse>(black_box(value)).expect("it is one")));
    }
}

/// Returns the median times of a hit, of a `GET` and of decoding, in seconds. The three take turns, so that other load
/// on the machine slows all of them alike.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures the wall clock")]
fn in_turn(remote: &Remote, value: &Bytes, calls: usize) -> [f64; 3] {
    let mut took = [const { Vec::new() }; 3];
    for _ in 0..6_000 / calls.min(8) {
        let starts = Instant::now();
        remote.hits(calls);
        let gets = Instant::now();
        remote.gets(calls);
        let decodes = Instant::now();
        decode(value, calls);
        for (took, span) in took.iter_mut().zip([gets - starts, decodes - gets, decodes.elapsed()]) {
            took.push(span);
        }
    }
    took.map(|mut took| {
        took.sort_unstable();
        took[took.len() / 2].as_secs_f64()
    })
}
