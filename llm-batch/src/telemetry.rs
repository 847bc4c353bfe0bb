//! Spans and events of `tracing` and, with feature `metrics`, metrics of the `metrics` facade. No tenant is in any of them.

use std::time::Duration;

use tracing::{Span, debug_span};

use crate::window::Flush;

/// Returns the span of a request that several callers share.
pub(crate) fn request(calls: usize, is_further: bool) -> Span {
    debug_span!("llm.batch", llm.batch.calls = calls, llm.batch.further = is_further)
}

/// Reports a batch that is sent: its calls, its items of the most that a request may have, and the longest wait.
pub(crate) fn flushed(cause: Flush, calls: usize, items: usize, most: usize, wait: Duration) {
    tracing::debug!(cause = cause.name(), calls, items, ?wait, "a batch is sent");
    count(cause, false);
    fill(items, most, false);
}

/// Reports a call that is sent alone.
pub(crate) fn alone(cause: Flush) {
    tracing::trace!(cause = cause.name(), "a call is sent alone");
    count(cause, false);
}

/// Reports a batch that would have been sent.
pub(crate) fn shadow(cause: Flush, items: usize, most: usize) {
    tracing::debug!(cause = cause.name(), items, shadow = true, "a batch would be sent");
    count(cause, true);
    fill(items, most, true);
}

/// Reports the time that a call waited for others.
pub(crate) fn waited(time: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("llm_batch_wait_seconds").record(time.as_secs_f64());
    #[cfg(not(feature = "metrics"))]
    let _ = time;
}

/// Reports a failed request of so many calls that is sent again in halves.
pub(crate) fn halved(calls: usize) {
    tracing::debug!(calls, "a batch is halved, because the request itself failed");
    #[cfg(feature = "metrics")]
    metrics::counter!("llm_batch_halvings_total").increment(1);
}

/// Reports a call that was refused because too many are pending.
pub(crate) fn refused() {
    #[cfg(feature = "metrics")]
    metrics::counter!("llm_batch_refused_total").increment(1);
}

fn count(cause: Flush, shadow: bool) {
    #[cfg(feature = "metrics")]
    metrics::counter!("llm_batch_requests_total", "cause" => cause.name(), "shadow" => if shadow { "1" } else { "0" })
        .increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = (cause, shadow);
}

fn fill(items: usize, most: usize, shadow: bool) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("llm_batch_fill_ratio", "shadow" => if shadow { "1" } else { "0" })
        .record(items as f64 / most.max(1) as f64);
    #[cfg(not(feature = "metrics"))]
    let _ = (items, most, shadow);
}
