//! `cargo bench -p benches`

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

/// What needs a server of its own.
fn over_redis() {
    #[cfg(unix)]
    {
        redis::benches();
        fleet::benches();
    }
}

/// Half a second to warm up, two to measure.
fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

/// For what waits: one thread, and time.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime needs nothing")
}
