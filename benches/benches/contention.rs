//! Measures a cache hit in memory while many tasks request one key at once.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use benches::hit::{Warm, at_once};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use tokio::task::JoinSet;

criterion_group!(name = benches; config = crate::short(); targets = contention);

fn contention(c: &mut Criterion) {
    let mut group = c.benchmark_group("memory hits on one hot key, on two threads");
    group.throughput(Throughput::Elements(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    let runtime = runtime.expect("threads can be started");
    let warm = Warm::new();
    let moka = moka::sync::Cache::builder().max_capacity(1_000).build();
    moka.insert(warm.encode(Vec::new()), std::sync::Arc::new(warm.response.clone()));
    let bytes: std::sync::Arc<[u8]> = warm.encode(Vec::new()).into();

    for tasks in [2, 8, 64] {
        group.bench_function(BenchmarkId::new("whole layer", tasks), |b| {
            let hit = || {
                let Warm { mut service, call, .. } = warm.clone();
                move || drop(black_box(at_once(&mut service, call.clone())))
            };
            b.iter_custom(|times| runtime.block_on(together(tasks, times, hit)));
        });
        group.bench_function(BenchmarkId::new("floor: moka get", tasks), |b| {
            let get = || {
                let (moka, bytes) = (moka.clone(), bytes.clone());
                move || drop(black_box(moka.get(&bytes[..])))
            };
            b.iter_custom(|times| runtime.block_on(together(tasks, times, get)));
        });
    }
    group.finish();
}

/// Runs functions made by `make` `times` times in total, shared among `tasks` tasks that yield after each 32 runs.
/// Returns the time from the start of the first task to the end of the last.
#[expect(clippy::disallowed_methods, reason = "a bench measures the wall")]
async fn together<F: FnMut() + Send + 'static>(tasks: u64, times: u64, make: impl Fn() -> F) -> Duration {
    let mut set = JoinSet::new();
    let start = Instant::now();
    for task in 0..tasks {
        let mut act = make();
        let share = times / tasks + u64::from(task < times % tasks);
        set.spawn(async move {
            for number in 1..=share {
                act();
                if number % 32 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    set.join_all().await;
    start.elapsed()
}
