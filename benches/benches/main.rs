//! Runs all benchmarks: `cargo bench -p benches`.

use std::time::Duration;

use criterion::Criterion;

mod affinity;
mod batch;
mod codec;
mod contention;
mod embed;
#[cfg(unix)]
mod fleet;
mod join;
mod keypool;
mod memory_hit;
mod miss;
mod ratelimit;
#[cfg(unix)]
mod redis;
mod scale;
mod scan;
mod stored;
mod streamed;

criterion::criterion_main!(
    memory_hit::benches,
    miss::benches,
    join::benches,
    stored::benches,
    streamed::benches,
    embed::benches,
    batch::benches,
    contention::benches,
    scale::benches,
    scan::benches,
    codec::benches,
    ratelimit::benches,
    keypool::benches,
    affinity::benches,
    over_redis,
);

/// Runs the benchmarks that need a Redis server.
fn over_redis() {
    #[cfg(unix)]
    {
        redis::benches();
        fleet::benches();
    }
}

/// Returns a configuration with half a second of warm-up and two seconds of measurement.
fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

/// Creates a runtime on the current thread, with timers, for benchmarks that wait.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime needs nothing")
}
