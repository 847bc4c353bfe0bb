//! Units and descriptions of the metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

use super::Counts;

/// Upper bounds of histogram buckets that suit `llm_cache_lookup_seconds`, in seconds: from 5 µs to 1 s.
pub const LOOKUP_SECONDS_BUCKETS: [f64; 11] =
    [0.000_005, 0.000_02, 0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0];

/// Registers the description and the unit of each metric of this crate with the installed recorder. Call it once, after
/// the recorder is installed.
///
/// ```
/// llm_cache::describe_metrics();
/// ```
pub fn describe_metrics() {
    Counts::describe();
    let saved = "Cost of responses that were not paid for again, in nano-dollars";
    describe_counter!("llm_cache_saved_nano_usd_total", Unit::Count, saved);
    describe_gauge!("llm_cache_entries", Unit::Count, "Entries of the remote tier, or of memory");
    describe_gauge!("llm_cache_bytes", Unit::Bytes, "Size of the remote tier, or of memory");
    describe_histogram!("llm_cache_lookup_seconds", Unit::Seconds, "Time of a lookup");
}
