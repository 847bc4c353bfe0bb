//! Spans and events of `tracing`, and metrics of the `metrics` facade with the feature `metrics`. They contain no
//! tenants and no keys.

use llm_core::{Error, ErrorKind, layer::MemberId};
use tracing::{Span, debug_span, field::Empty};

use crate::Event;

/// Creates the span of a call, whose outcome is recorded later.
pub(crate) fn call(operation: &'static str) -> Span {
    debug_span!(
        "llm.keypool",
        llm.operation = operation,
        llm.keypool.member = Empty,
        llm.keypool.failures = Empty,
        llm.keypool.outcome = Empty
    )
}

/// Records the outcome of a call: the member that served it, or the error.
pub(crate) fn ended(span: &Span, failures: u32, result: Result<Option<&MemberId>, &Error>) {
    let outcome = match result.map_err(Error::kind) {
        Ok(_) => "served",
        Err(ErrorKind::RateLimited) => "rate_limited",
        Err(ErrorKind::Unavailable) => "unavailable",
        Err(ErrorKind::Overloaded) => "overloaded",
        Err(_) => "failed",
    };
    span.record("llm.keypool.failures", failures);
    span.record("llm.keypool.outcome", outcome);
    if let Ok(Some(member)) = result {
        span.record("llm.keypool.member", member.as_str());
    }
    #[cfg(feature = "metrics")]
    {
        count(outcome);
        metrics::counter!("llm_keypool_failed_attempts_total").increment(failures.into());
    }
}

/// Counts a call by its outcome. A metric key with literal labels is static, so counting allocates nothing.
#[cfg(feature = "metrics")]
fn count(outcome: &str) {
    macro_rules! by_outcome {
        ($($label:literal)*) => {
            match outcome {
                $($label => metrics::counter!("llm_keypool_calls_total", "outcome" => $label),)*
                _ => metrics::counter!("llm_keypool_calls_total", "outcome" => "failed"),
            }
        };
    }
    by_outcome!("served" "rate_limited" "unavailable" "overloaded").increment(1);
}

/// Emits an automatic change of the pool as a `tracing` event, and counts it in a metric.
pub(crate) fn event(event: &Event) {
    match event {
        Event::Parked { part, reason, retry_in } => {
            let (member, model) = (part.member.as_deref(), part.model.as_deref());
            tracing::warn!(member, group = &*part.group, model, reason = reason.as_str(), ?retry_in, "parked");
            #[cfg(feature = "metrics")]
            metrics::counter!("llm_keypool_parked_total", "reason" => reason.as_str()).increment(1);
        }
        Event::Returned { part, reason, away } => {
            let (member, model) = (part.member.as_deref(), part.model.as_deref());
            tracing::info!(member, group = &*part.group, model, reason = reason.as_str(), ?away, "returned");
            #[cfg(feature = "metrics")]
            metrics::counter!("llm_keypool_returned_total", "reason" => reason.as_str()).increment(1);
        }
        Event::Paused { length } => {
            tracing::warn!(?length, "the pool pauses: its groups are refused together");
            #[cfg(feature = "metrics")]
            metrics::counter!("llm_keypool_pauses_total").increment(1);
        }
        Event::Resumed => tracing::info!("the pool resumed"),
    }
}
