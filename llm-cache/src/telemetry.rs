//! Spans and events. They hold no question, no answer, no key and no tenant.

use std::future::Future;

use llm_core::{Error, Reply};
use tracing::{Instrument, Span, debug, debug_span, field::Empty};

use crate::CacheStatus;

/// Tells how a reply that was at hand was come by.
pub(crate) fn emit<O>(operation: &'static str, reply: Reply<O>) -> Reply<O> {
    let status = || CacheStatus::of(&reply);
    debug!(llm.operation = operation, llm.cache.status = status().word(), llm.cache.detail = %status(), "looked up");
    reply
}

/// Runs what has to be waited for in a span that tells how it was come by.
pub(crate) async fn run<O>(
    operation: &'static str,
    reply: impl Future<Output = Result<Reply<O>, Error>>,
) -> Result<Reply<O>, Error> {
    let span = debug_span!("llm.cache", llm.operation = operation, llm.cache.status = Empty, llm.cache.detail = Empty);
    let reply = reply.instrument(span.clone()).await;
    let status = match &reply {
        Ok(reply) => CacheStatus::of(reply),
        Err(error) => CacheStatus::of_error(error),
    };
    record(&span, &status);
    reply
}

fn record(span: &Span, status: &CacheStatus) {
    span.record("llm.cache.status", status.word());
    span.record("llm.cache.detail", tracing::field::display(status));
}
