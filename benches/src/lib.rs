//! What the benchmarks and the counted tests measure: one fixture for both.
//!
//! Run them with `cargo bench -p benches`; each figure stands beside the raw floor it is measured against, in the same
//! run. Allocations are counted by `cargo test -p benches`, hit rates by `cargo run --release -p benches --bin hit_rate`.

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
