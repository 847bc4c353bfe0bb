//! Spans and events of `tracing` and, with feature `metrics`, metrics of the `metrics` facade. No tenant is in any of them.

use std::time::Duration;

use tracing::{Span, debug_span};

use super::window::Flush;

/// Returns the span of a request that several callers share.
pub(super) fn request(calls: usize, is_further: bool) -> Span {
    debug_span!("llm.batch", llm.batch.calls = calls, llm.batch.further = is_further)
}

/// Reports a batch that is sent, or would be in shadow mode: its items with the most that a request may have, and the time that
/// each call waited.
#[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "without metrics nothing is counted"))]
pub(super) fn flushed(
    cause: Flush,
    (items, most): (usize, usize),
    waits: impl Iterator<Item = Duration>,
    shadow: bool,
) {
    let (mut calls, mut longest) = (0, Duration::ZERO);
    for wait in waits {
        calls += 1;
        longest = longest.max(wait);
        #[cfg(feature = "metrics")]
        metrics::histogram!("llm_batch_wait_seconds").record(wait.as_secs_f64());
    }
    tracing::debug!(cause = cause.0, calls, items, wait = ?longest, shadow, "a batch is sent");
    #[cfg(feature = "metrics")]
    {
        let shadow = if shadow { "1" } else { "0" };
        metrics::counter!("llm_batch_requests_total", "cause" => cause.0, "shadow" => shadow).increment(1);
        metrics::histogram!("llm_batch_fill_ratio", "shadow" => shadow).record(items as f64 / most as f64);
    }
}

/// Reports that so many items of a failed request are sent again in halves.
pub(super) fn halved(items: usize) {
    tracing::debug!(items, "a batch is halved, because the request itself failed");
    #[cfg(feature = "metrics")]
    metrics::counter!("llm_batch_halvings_total").increment(1);
}

/// Reports a call that was refused because too many are pending.
pub(super) fn refused() {
    #[cfg(feature = "metrics")]
    metrics::counter!("llm_batch_refused_total").increment(1);
}
