//! Measures the time to join a call that is already running.

use std::hint::black_box;

use benches::{
    crowd::Gated,
    hit::{call_of, of_2_kb},
    vendor::AtOnce,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use futures_util::{FutureExt, future::join_all};
use llm_cache::{Cache, Cached};
use tokio::sync::oneshot;
use tower::Service;

criterion_group!(name = benches; config = crate::short(); targets = join);

/// Number of callers that send the same request at once.
const CALLERS: usize = 64;

fn join(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("{CALLERS} equal calls at once, one of which is made"));
    group.throughput(Throughput::Elements(CALLERS as u64));
    let runtime = crate::runtime();
    let vendor = AtOnce::saying(&of_2_kb("given a user when "));

    let call = call_of("acme");
    group.bench_function("whole layer", |b| {
        let cold = || {
            let gated = Gated::new(vendor.clone());
            let cache = Cache::builder("bench").build().expect("the defaults are right");
            (gated.clone(), Cached::new(gated, cache), vec![call.clone(); CALLERS])
        };
        let send = |(gated, mut layer, calls): (Gated, Cached<Gated>, Vec<_>)| {
            runtime.block_on(async {
                let crowd = join_all(calls.into_iter().map(|call| layer.call(call)));
                let (replies, ()) = futures_util::join!(crowd, async { gated.open() });
                // The values of this round are returned, so that they are dropped outside of the measured time.
                (black_box(replies), layer)
            })
        };
        b.iter_batched(cold, send, BatchSize::SmallInput);
    });
    group.bench_function("floor: futures' Shared, of the response alone", |b| {
        let response = vendor.response().clone();
        let send = |response| {
            runtime.block_on(async {
                let (open, gate) = oneshot::channel();
                let shared = gate.map(|response| response.expect("it is sent")).shared();
                let crowd = join_all((0..CALLERS).map(|_| shared.clone()));
                let (replies, sent) = futures_util::join!(crowd, async { open.send(response).is_ok() });
                black_box((replies, sent))
            })
        };
        b.iter_batched(|| response.clone(), send, BatchSize::SmallInput);
    });
    group.finish();
}
