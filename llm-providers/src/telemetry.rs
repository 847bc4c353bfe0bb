//! Spans of calls to vendors. This is the only file with OpenTelemetry's `gen_ai.*` names, which are still being
//! renamed.
//!
//! Spans hold no prompt, no response, no key and no tenant.

use std::future::Future;

use llm_core::{Error, ErrorKind, Usage};
use tracing::{Instrument, Span, field::Empty};

/// Span of one call to a vendor.
#[derive(Clone, Debug)]
pub(crate) struct CallSpan(Span);

impl CallSpan {
    /// Opens a span for an operation such as `chat` or `embeddings`. An empty name means no model.
    pub(crate) fn open(operation: &'static str, provider: &str, model: &str) -> Self {
        Self(tracing::info_span!(
            "llm.call",
            gen_ai.operation.name = operation,
            gen_ai.provider.name = provider,
            gen_ai.request.model = Some(model).filter(|model| !model.is_empty()),
            gen_ai.response.model = Empty,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
            error.r#type = Empty,
        ))
    }

    /// Runs the call inside the span, and records its failure.
    pub(crate) async fn run<R>(&self, call: impl Future<Output = Result<R, Error>>) -> Result<R, Error> {
        call.instrument(self.0.clone()).await.inspect_err(|error| self.failed(error))
    }

    pub(crate) fn response_model(&self, model: &str) {
        self.0.record("gen_ai.response.model", model);
    }

    pub(crate) fn used(&self, usage: Usage) {
        self.0.record("gen_ai.usage.input_tokens", usage.input);
        self.0.record("gen_ai.usage.output_tokens", usage.output);
    }

    pub(crate) fn failed(&self, error: &Error) {
        self.0.record("error.type", word(error.kind()));
    }
}

/// Returns the kind of an error as one word.
pub(crate) fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest => "invalid_request",
        ErrorKind::ContextTooLong => "context_too_long",
        ErrorKind::ContentFiltered => "content_filtered",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Authentication => "authentication",
        ErrorKind::PermissionDenied => "permission_denied",
        ErrorKind::NotFound => "not_found",
        ErrorKind::RateLimited => "rate_limited",
        ErrorKind::QuotaExhausted => "quota_exhausted",
        ErrorKind::Overloaded => "overloaded",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Server => "server",
        ErrorKind::Transport => "transport",
        ErrorKind::Timeout => "timeout",
        ErrorKind::DeadlineExceeded => "deadline_exceeded",
        ErrorKind::Malformed => "malformed",
        ErrorKind::Incomplete => "incomplete",
        // OpenTelemetry's value for errors that no other value describes.
        _ => "_OTHER",
    }
}
