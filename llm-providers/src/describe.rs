//! Units and descriptions of the metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Upper bounds of histogram buckets, in seconds, for durations of calls, times to the first content and waiting times:
/// 50 ms to 10 minutes.
pub const SECONDS_BUCKETS: [f64; 13] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 240.0, 600.0];

/// Registers the description and the unit of each metric of this crate with the installed recorder. Call it once, after
/// the recorder is installed.
///
/// ```
/// llm_providers::describe_metrics();
/// ```
pub fn describe_metrics() {
    describe_counter!("llm_providers_calls_total", Unit::Count, "Attempts at a vendor that ended");
    describe_counter!("llm_providers_errors_total", Unit::Count, "Attempts at a vendor that failed, by kind of error");
    describe_gauge!("llm_providers_calls_in_flight", Unit::Count, "Attempts at a vendor that run now");
    describe_histogram!("llm_providers_call_seconds", Unit::Seconds, "Time from an attempt to the end of its response");
    describe_histogram!(
        "llm_providers_first_content_seconds",
        Unit::Seconds,
        "Time from a streamed attempt to its first content"
    );
    describe_counter!("llm_providers_tokens_total", Unit::Count, "Tokens of attempts whose usage arrived");
    describe_counter!(
        "llm_providers_cost_nano_usd_total",
        Unit::Count,
        "Cost of attempts whose usage arrived, in nano-dollars"
    );
    describe_counter!(
        "llm_providers_unconfirmed_nano_usd_total",
        Unit::Count,
        "Upper bound of the cost of attempts whose usage never came, in nano-dollars"
    );
    describe_counter!("llm_providers_unknown_cost_total", Unit::Count, "Attempts whose cost is not known");
}
