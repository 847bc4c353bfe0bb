//! Spans and events of `tracing` and, with the feature `metrics`, metrics of the `metrics` facade. The tenant is never
//! a label.

use std::{sync::Arc, time::Duration};

use tracing::{Span, debug_span, field::Empty};

use crate::{Refusal, kind::Kind};

/// Returns the span in which a call gets its reservation.
pub(crate) fn admission(operation: &'static str, shadow: bool) -> Span {
    debug_span!(
        "llm.ratelimit",
        llm.operation = operation,
        llm.ratelimit.shadow = shadow,
        llm.ratelimit.plan = Empty,
        llm.ratelimit.outcome = Empty
    )
}

/// Records the outcome of an admission in its span.
pub(crate) fn admitted<R>(span: &Span, outcome: &Result<R, Refusal>, plan: impl FnOnce() -> Arc<str>) {
    if !span.is_disabled() {
        span.record("llm.ratelimit.plan", &*plan());
        span.record(
            "llm.ratelimit.outcome",
            outcome.as_ref().map_or_else(|refusal| refusal.reason().name(), |_| "granted"),
        );
    }
}

pub(crate) fn granted(plan: &Arc<str>) {
    #[cfg(feature = "metrics")]
    metrics::counter!("llm_ratelimit_granted_total", "plan" => Arc::clone(plan)).increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = plan;
}

pub(crate) fn refused(refusal: &Refusal) {
    let reason = refusal.reason().name();
    tracing::debug!(plan = refusal.plan(), reason, retry_after = ?refusal.retry_after(), "{refusal}");
    #[cfg(feature = "metrics")]
    metrics::counter!("llm_ratelimit_refused_total", "plan" => refusal.plan().to_owned(), "reason" => reason)
        .increment(1);
}

pub(crate) fn waited(plan: &str, time: Duration) {
    tracing::debug!(plan, ?time, "a call waited for room");
    #[cfg(feature = "metrics")]
    metrics::histogram!("llm_ratelimit_wait_seconds", "plan" => plan.to_owned()).record(time.as_secs_f64());
}

/// Counts usage beyond the limit of a calendar window.
pub(crate) fn debt(kind: Kind, amount: u64) {
    tracing::debug!(unit = kind.name(), amount, "a window has a debt");
    #[cfg(feature = "metrics")]
    metrics::counter!("llm_ratelimit_debt_total", "unit" => kind.name()).increment(amount);
}

/// Records the ratio of reserved to used tokens.
pub(crate) fn settled(reserved: u64, used: u64) {
    tracing::trace!(reserved, used, "a reservation is settled");
    #[cfg(feature = "metrics")]
    {
        metrics::counter!("llm_ratelimit_reserved_tokens_total").increment(reserved);
        metrics::counter!("llm_ratelimit_used_tokens_total").increment(used);
        metrics::counter!("llm_ratelimit_refunded_tokens_total").increment(reserved.saturating_sub(used));
        metrics::counter!("llm_ratelimit_excess_tokens_total").increment(used.saturating_sub(reserved));
    }
}
