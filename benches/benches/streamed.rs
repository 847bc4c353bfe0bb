//! Measures the replay of a stored response as a stream.

use std::hint::black_box;

use benches::{
    hit::{at_once, call_of, of_2_kb},
    vendor::AtOnce,
};
use criterion::{BatchSize, Criterion, criterion_group};
use futures_util::{FutureExt, StreamExt, stream};
use llm_cache::{Cache, Cached};
use llm_core::{Call, ChatRequest, ChatStream, Error, layer::Streamed};

criterion_group!(name = benches; config = crate::short(); targets = streamed);

fn streamed(c: &mut Criterion) {
    let mut group = c.benchmark_group("streamed hit, 2 KB prompt, 2 KB response");
    let vendor = AtOnce::saying(&of_2_kb("given a user when "));
    let cache = Cache::builder("bench").build().expect("the defaults are right");
    let mut layer = Cached::new(vendor.clone(), cache);
    let call: Call<Streamed<ChatRequest>> = call_of("acme").map(Streamed);
    let fresh = read(at_once(&mut layer, call.clone()).output);
    let again = read(at_once(&mut layer, call.clone()).output);
    assert_eq!(vendor.calls(), 1, "the second time it was stored");
    println!("{fresh} events came, {again} are replayed");

    group.bench_function("whole layer, to the end", |b| {
        let send = |call| black_box(read(at_once(&mut layer, call).output));
        b.iter_batched(|| call.clone(), send, BatchSize::SmallInput);
    });
    let mut unary = layer.clone();
    group.bench_function("the same response in one piece", |b| {
        let send = |call: Call<ChatRequest>| black_box(at_once(&mut unary, call));
        b.iter_batched(|| call_of("acme"), send, BatchSize::SmallInput);
    });
    let replayed: Vec<_> = {
        let stream = at_once::<ChatStream, _, _>(&mut layer, call.clone()).output;
        let events = stream.collect::<Vec<Result<_, Error>>>().now_or_never().expect("nothing here waits");
        events.into_iter().map(|event| event.expect("nothing here fails")).collect()
    };
    group.bench_function("floor: iterating those events", |b| {
        b.iter(|| black_box(&replayed).iter().map(|event| black_box(event.clone()).output_bytes()).sum::<u64>());
    });
    group.bench_function("floor: those events as a stream of their own", |b| {
        b.iter(|| read(ChatStream::new(stream::iter(replayed.clone().into_iter().map(Ok)))));
    });
    group.finish();
}

/// Reads a stream that never waits to its end, and returns the number of its events.
fn read(stream: ChatStream) -> usize {
    stream.count().now_or_never().expect("nothing here waits")
}
