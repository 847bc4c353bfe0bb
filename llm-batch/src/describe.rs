//! Units and descriptions of the metrics.

use metrics::{Unit, describe_counter, describe_histogram};

/// Registers the description and the unit of each metric of this crate with the installed recorder. Call it once, after
/// the recorder is installed.
///
/// ```
/// llm_batch::describe_metrics();
/// ```
pub fn describe_metrics() {
    describe_counter!("llm_batch_requests_total", Unit::Count, "Requests sent, without further ones");
    describe_histogram!("llm_batch_fill_ratio", Unit::Count, "Items of a request, of the most that a request may have");
    describe_histogram!("llm_batch_wait_seconds", Unit::Seconds, "Time that each call waited for others");
    describe_counter!("llm_batch_halvings_total", Unit::Count, "Failed requests that were sent again in halves");
    describe_counter!("llm_batch_refused_total", Unit::Count, "Calls beyond max_pending");
    describe_counter!("llm_pack_items_total", Unit::Count, "Items of packed requests");
    describe_counter!("llm_pack_decoys_failed_total", Unit::Count, "Packed responses whose decoy has another answer");
    describe_counter!("llm_pack_comparisons_total", Unit::Count, "Packed responses compared with lone ones");
}
