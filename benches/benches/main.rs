//! `cargo bench -p benches`

use std::time::Duration;

use criterion::Criterion;

mod codec;
mod memory_hit;
#[cfg(unix)]
mod redis;

#[cfg(unix)]
criterion::criterion_main!(memory_hit::benches, codec::benches, redis::benches);
#[cfg(not(unix))]
criterion::criterion_main!(memory_hit::benches, codec::benches);

/// Half a second to warm up, two to measure.
fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}
