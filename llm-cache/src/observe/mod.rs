//! Observability: counters, statistics, metrics and spans.
//!
//! | file | what it holds |
//! |---|---|
//! | `counts.rs` | the table of counters, each with its field of [`Stats`] and its metric |
//! | `stats.rs` | [`Stats`] |
//! | `describe.rs` | units and texts of metrics that are no counters |
//! | `telemetry.rs` | spans and events |

mod counts;
#[cfg(feature = "metrics")]
mod describe;
mod stats;
pub(crate) mod telemetry;

pub(crate) use self::counts::{Counter, Counts, LookupTimer};
#[cfg(feature = "metrics")]
pub use self::describe::{LOOKUP_SECONDS_BUCKETS, describe_metrics};
pub use self::stats::Stats;
