//! Fixtures of the benchmarks and of the tests that count allocations.
//!
//! Run them with `cargo bench -p benches`; each figure is printed beside its floor, the least work that the task could
//! take, measured in the same run. Allocations are counted by `cargo test -p benches`, hit rates by `cargo run
//! --release -p benches --bin hit_rate`.

pub mod codec;
pub mod crowd;
pub mod filled;
#[cfg(unix)]
pub mod fleet;
pub mod hit;
pub mod hit_rate;
pub mod keypool;
pub mod ratelimit;
#[cfg(unix)]
pub mod redis;
pub mod vendor;
