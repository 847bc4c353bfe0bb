//! Metrics of calls and events, which are recorded only with the feature `metrics`.

use crate::{Error, ErrorKind, Event};

/// Returns the metric label for the outcome of a call.
pub(crate) fn outcome<T>(result: &Result<T, Error>) -> &'static str {
    match result.as_ref().map_err(Error::kind) {
        Ok(_) => "ok",
        Err(ErrorKind::Timeout) => "timeout",
        Err(ErrorKind::Unavailable) => "unavailable",
        Err(ErrorKind::Busy) => "busy",
        Err(ErrorKind::Connection) => "connection",
        Err(_) => "error",
    }
}

#[cfg(feature = "metrics")]
pub(crate) fn record_call(instance: &std::sync::Arc<str>, outcome: &'static str) {
    metrics::counter!("llm_redis_calls_total", "instance" => std::sync::Arc::clone(instance), "outcome" => outcome)
        .increment(1);
}

#[cfg(not(feature = "metrics"))]
pub(crate) fn record_call(_: &std::sync::Arc<str>, _: &'static str) {}

#[cfg(feature = "metrics")]
pub(crate) fn record_event(instance: &str, event: &Event) {
    let up = |up: f64| metrics::gauge!("llm_redis_up", "instance" => instance.to_owned()).set(up);
    match event {
        Event::Connected | Event::Recovered => up(1.0),
        Event::Unavailable(_) => {
            metrics::counter!("llm_redis_unavailable_total", "instance" => instance.to_owned()).increment(1);
            up(0.0);
        }
        Event::Disconnected | Event::Closed => up(0.0),
        Event::Lagged(_) => {}
    }
}

#[cfg(not(feature = "metrics"))]
pub(crate) fn record_event(_: &str, _: &Event) {}
