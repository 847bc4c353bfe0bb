use llm_core::{Error, ErrorKind, http};
use serde_json::{Value, json};

use super::audience::Audience;

/// Returns the body `{"error": …}` for an error.
pub(crate) fn body(error: &Error, audience: Audience) -> Value {
    let message = if audience.is_operator { error.message().into() } else { http::message(error) };
    // All failures that clients did not cause have the same type and no code for clients, because the details are for
    // the operator.
    let is_public = audience.is_operator || http::status(error).is_client_error();
    let (kind, code) = if is_public { names(error.kind()) } else { ("server_error", None) };
    let code = error.code().filter(|_| is_public).or(code);
    json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })
}

/// Returns OpenAI's words for a kind of error: its type, and the code for an error without a code of its own.
fn names(kind: ErrorKind) -> (&'static str, Option<&'static str>) {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::Unsupported => ("invalid_request_error", None),
        ErrorKind::ContextTooLong => ("invalid_request_error", Some("context_length_exceeded")),
        ErrorKind::ContentFiltered => ("invalid_request_error", Some("content_filter")),
        ErrorKind::Authentication => ("invalid_request_error", Some("invalid_api_key")),
        ErrorKind::PermissionDenied => ("invalid_request_error", Some("permission_denied")),
        ErrorKind::NotFound => ("invalid_request_error", Some("model_not_found")),
        ErrorKind::RateLimited => ("rate_limit_error", Some("rate_limit_exceeded")),
        ErrorKind::QuotaExhausted => ("insufficient_quota", Some("insufficient_quota")),
        ErrorKind::OverBudget => ("insufficient_quota", Some("over_budget")),
        _ => ("server_error", None),
    }
}
