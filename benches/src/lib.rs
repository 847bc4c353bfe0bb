//! What the benchmarks and the counted tests measure: one fixture for both.
//!
//! Run them with `cargo bench -p benches`; each figure stands beside the raw floor it is measured against, in the same
//! run. Allocations are counted by `cargo test -p benches`.

pub mod codec;
pub mod hit;
#[cfg(unix)]
pub mod redis;
