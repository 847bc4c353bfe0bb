//! What is told to `tracing` and, with feature `metrics`, to the `metrics` facade. No tenant is a label.

use std::{sync::Arc, time::Duration};

use crate::Refusal;

pub(crate) fn granted(plan: impl FnOnce() -> Arc<str>) {
    #[cfg(feature = "metrics")]
    metrics::counter!("llm.ratelimit.granted", "plan" => plan()).increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = plan;
}

pub(crate) fn refused(refusal: &Refusal) {
    let reason = refusal.reason().name();
    tracing::debug!(plan = refusal.plan(), reason, retry_after = ?refusal.retry_after(), "{refusal}");
    #[cfg(feature = "metrics")]
    metrics::counter!("llm.ratelimit.refused", "plan" => refusal.plan().to_owned(), "reason" => reason).increment(1);
}

pub(crate) fn waited(plan: &str, time: Duration) {
    tracing::debug!(plan, ?time, "a call waited for room");
    #[cfg(feature = "metrics")]
    metrics::histogram!("llm.ratelimit.waited_seconds", "plan" => plan.to_owned()).record(time.as_secs_f64());
}

/// Tokens that were reserved against those that were used.
pub(crate) fn settled(reserved: u64, used: u64) {
    tracing::trace!(reserved, used, "a reservation is settled");
    #[cfg(feature = "metrics")]
    {
        metrics::counter!("llm.ratelimit.reserved_tokens").increment(reserved);
        metrics::counter!("llm.ratelimit.used_tokens").increment(used);
        metrics::counter!("llm.ratelimit.refunded_tokens").increment(reserved.saturating_sub(used));
        metrics::counter!("llm.ratelimit.excess_tokens").increment(used.saturating_sub(reserved));
    }
}
