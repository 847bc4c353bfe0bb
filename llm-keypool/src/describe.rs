//! Descriptions and units of the metrics.

use metrics::{Unit, describe_counter};

/// Registers the description and the unit of each metric of this crate with the installed recorder. Call it once, after
/// the recorder is installed.
///
/// ```
/// llm_keypool::describe_metrics();
/// ```
pub fn describe_metrics() {
    describe_counter!("llm_keypool_calls_total", Unit::Count, "Calls of the service");
    describe_counter!(
        "llm_keypool_failed_attempts_total",
        Unit::Count,
        "Attempts that failed and were moved or retried"
    );
    describe_counter!("llm_keypool_parked_total", Unit::Count, "Automatic removals of members and models");
    describe_counter!("llm_keypool_returned_total", Unit::Count, "Automatic returns of members and models");
    describe_counter!("llm_keypool_pauses_total", Unit::Count, "Pauses of the whole pool");
}
