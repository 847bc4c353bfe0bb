//! Units and texts of the metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Upper bounds of the buckets that fit `llm_cache_lookup_seconds`: 5 µs to 1 s.
pub const LOOKUP_SECONDS_BUCKETS: [f64; 11] =
    [0.000_005, 0.000_02, 0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0];

/// Gives the recorder that is installed the unit and a text of each metric of this crate. Call it once, after the recorder
/// is installed.
///
/// ```
/// llm_cache::describe_metrics();
/// ```
pub fn describe_metrics() {
    describe_counter!("llm_cache_hits_total", Unit::Count, "Entries served, stale ones included");
    describe_counter!("llm_cache_remote_hits_total", Unit::Count, "Hits of a file or Redis");
    describe_counter!("llm_cache_stale_total", Unit::Count, "Hits that were stale");
    describe_counter!(
        "llm_cache_misses_total",
        Unit::Count,
        "Calls sent because no entry could be served, failed ones too"
    );
    describe_counter!("llm_cache_bypassed_total", Unit::Count, "Calls sent because of no_store or no_cache");
    describe_counter!("llm_cache_failed_calls_total", Unit::Count, "Calls that failed");
    describe_counter!("llm_cache_coalesced_total", Unit::Count, "Responses of calls that were running already");
    describe_counter!("llm_cache_negative_hits_total", Unit::Count, "Errors served from the negative cache");
    describe_counter!("llm_cache_stored_total", Unit::Count, "Responses stored");
    describe_counter!("llm_cache_too_large_total", Unit::Count, "Responses that were too large to store");
    describe_counter!("llm_cache_evictions_total", Unit::Count, "Entries evicted from any tier");
    describe_counter!("llm_cache_store_errors_total", Unit::Count, "Failures of a store");
    describe_counter!("llm_cache_corrupt_total", Unit::Count, "Entries at rest that could not be read");
    describe_counter!(
        "llm_cache_dropped_writes_total",
        Unit::Count,
        "Entries that were not written to a file or Redis"
    );
    describe_counter!("llm_cache_revalidated_total", Unit::Count, "Calls sent to replace stale entries");
    describe_counter!(
        "llm_cache_skipped_total",
        Unit::Count,
        "Background calls that were not sent because too many were running"
    );
    describe_counter!("llm_cache_detached_total", Unit::Count, "Calls completed after all callers had left");
    describe_counter!("llm_cache_verified_total", Unit::Count, "Hits whose request was sent again");
    describe_counter!("llm_cache_mismatched_total", Unit::Count, "Verified hits with another response");
    describe_counter!(
        "llm_cache_saved_nano_usd_total",
        Unit::Count,
        "Cost of responses that were not paid for again, in nano-dollars"
    );
    describe_gauge!("llm_cache_entries", Unit::Count, "Entries of the remote tier, or of memory");
    describe_gauge!("llm_cache_bytes", Unit::Bytes, "Size of the remote tier, or of memory");
    describe_histogram!("llm_cache_lookup_seconds", Unit::Seconds, "Time of a lookup");
}
