//! Tests of the limiter as a library and as a layer, around hand-written and simulated vendors.

#![expect(clippy::disallowed_methods, reason = "tests spawn callers and look at how large they are to be")]

mod alert_shares;
mod answering_model;
mod attempts;
mod balances;
mod broken_stream;
#[cfg(feature = "file")]
mod damaged_file;
mod dimensions;
mod emergency;
mod events;
mod fairness;
#[cfg(feature = "file")]
mod kill;
mod late_debt;
mod layer;
mod limits;
mod merged_calls;
#[cfg(feature = "metrics")]
mod metrics_sampler;
mod observability;
mod overrun_budget;
mod plans;
mod price_alias;
#[cfg(feature = "redis")]
mod redis;
mod run;
mod runtime;
#[cfg(feature = "file")]
mod scratch;
mod settlement_price;
mod shared_deadline;
mod store;
mod support;
mod thread_end;
mod thundering_herd;
mod units;
mod waiting;
mod workloads;
mod zero_reservation;

/// Returns true if the large sizes are requested.
fn full() -> bool {
    std::env::var("LLM_FULL").is_ok_and(|full| full == "1")
}
