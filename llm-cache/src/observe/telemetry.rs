//! Spans and events. They contain no request, response, key or tenant.
//!
//! A hit in the local tier that needs no call in the background emits an event at level `debug`. Any other reply has a
//! span, because the caller may have to wait for it.

use std::future::Future;

use futures_util::FutureExt;
use llm_core::{Error, Reply};
use tracing::{Instrument, debug, debug_span, field::Empty};

use crate::CacheStatus;

/// Emits an event about a reply that is served without waiting.
pub(crate) fn emit<O>(operation: &'static str, reply: Reply<O>) -> Reply<O> {
    let status = || CacheStatus::of(&reply);
    debug!(llm.operation = operation, llm.cache.status = status().word(), llm.cache.detail = %status(), "looked up");
    reply
}

/// Awaits a reply in a span, which records the status of the reply or of its error.
pub(crate) fn run<O, F>(operation: &'static str, reply: F) -> impl Future<Output = Result<Reply<O>, Error>> + use<O, F>
where
    F: Future<Output = Result<Reply<O>, Error>>,
{
    let span = debug_span!("llm.cache", llm.operation = operation, llm.cache.status = Empty, llm.cache.detail = Empty);
    reply.instrument(span.clone()).inspect(move |reply| {
        if span.is_disabled() {
            return;
        }
        let status = match reply {
            Ok(reply) => CacheStatus::of(reply),
            Err(error) => CacheStatus::of_error(error),
        };
        span.record("llm.cache.status", status.word());
        span.record("llm.cache.detail", tracing::field::display(status));
    })
}
