//! Units and descriptions of the metrics.

use metrics::{Unit, describe_counter, describe_gauge};

/// Registers the description and the unit of each metric of this crate with the installed recorder. Call it once, after
/// the recorder is installed.
///
/// ```
/// llm_redis::describe_metrics();
/// ```
pub fn describe_metrics() {
    describe_counter!("llm_redis_calls_total", Unit::Count, "Commands and scripts sent");
    describe_counter!("llm_redis_unavailable_total", Unit::Count, "Outages");
    describe_gauge!("llm_redis_up", Unit::Count, "1 if the server can be used, else 0");
}
