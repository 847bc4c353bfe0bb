//! Units and descriptions of the metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Registers the unit and a description of each metric of this crate with the installed recorder. Call it once, after
/// installing the recorder.
///
/// ```
/// llm_ratelimit::describe_metrics();
/// ```
pub fn describe_metrics() {
    describe_counter!("llm_ratelimit_granted_total", Unit::Count, "Reservations");
    describe_counter!("llm_ratelimit_refused_total", Unit::Count, "Refusals");
    describe_histogram!("llm_ratelimit_wait_seconds", Unit::Seconds, "Time that calls waited, whatever the outcome");
    describe_counter!(
        "llm_ratelimit_reserved_tokens_total",
        Unit::Count,
        "Tokens reserved by calls whose usage is known"
    );
    describe_counter!("llm_ratelimit_used_tokens_total", Unit::Count, "Tokens used by these calls");
    describe_counter!("llm_ratelimit_refunded_tokens_total", Unit::Count, "Tokens reserved and not used");
    describe_counter!("llm_ratelimit_excess_tokens_total", Unit::Count, "Tokens used beyond the reservation");
    describe_counter!(
        "llm_ratelimit_debt_total",
        Unit::Count,
        "Usage beyond the limit of a calendar window at its settlement, money in nano-dollars; what is given back later lowers the \
         debt, not this count"
    );
    describe_counter!("llm_ratelimit_outage_decisions_total", Unit::Count, "Decisions while Redis was away");
    describe_counter!(
        "llm_ratelimit_dropped_settlements_total",
        Unit::Count,
        "Settlements that never reached Redis; their reservations are spent"
    );
    describe_gauge!("llm_ratelimit_waiting_calls", Unit::Count, "Calls that wait for room");
    describe_gauge!(
        "llm_ratelimit_least_share_left",
        Unit::Count,
        "Least share of a limit that any tenant has left, from 0 to 1"
    );
    describe_gauge!(
        "llm_ratelimit_tenant_share_left",
        Unit::Count,
        "Share of a limit that a tenant has left, from 0 to 1"
    );
}
