//! Units and texts of the metrics.

use metrics::{Unit, describe_counter, describe_gauge};

/// Gives the recorder that is installed the unit and a text of each metric of this crate. Call it once, after the recorder
/// is installed.
///
/// ```
/// llm_redis::describe_metrics();
/// ```
pub fn describe_metrics() {
    describe_counter!("llm_redis_calls_total", Unit::Count, "Commands and scripts sent");
    describe_counter!("llm_redis_unavailable_total", Unit::Count, "Outages");
    describe_gauge!("llm_redis_up", Unit::Count, "1 if the server can be used, else 0");
}
