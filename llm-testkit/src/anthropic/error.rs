//! Encoding of refusals in Anthropic's format.

use crate::fault::RefusalKind;
use crate::refusal::{Cause, Refusal};
use http::StatusCode;
use serde_json::{Value, json};

/// Returns the status and the body of a refusal.
pub(super) fn refuse(refusal: &Refusal, request_id: &str) -> (StatusCode, Value) {
    let (status, kind) = row(&refusal.cause);
    let message = match (&refusal.cause, &refusal.param) {
        (Cause::Scripted(RefusalKind::ContextTooLong), _) => {
            "prompt is too long: 200001 tokens > 200000 maximum".into()
        }
        (Cause::Missing, Some(param)) => format!("{param}: Field required"),
        (_, Some(param)) => format!("{param}: {}", refusal.message),
        _ => refusal.message.clone(),
    };
    let mut error = json!({"type": kind, "message": message});
    if let Some(code) = error_code(&refusal.cause) {
        error["details"] = json!({"error_code": code});
    }
    (status, json!({"type": "error", "error": error, "request_id": request_id}))
}

fn row(cause: &Cause) -> (StatusCode, &'static str) {
    match cause {
        Cause::Invalid | Cause::Missing | Cause::Malformed | Cause::Filtered => {
            (StatusCode::BAD_REQUEST, "invalid_request_error")
        }
        Cause::NoKey | Cause::UnknownKey => (StatusCode::UNAUTHORIZED, "authentication_error"),
        Cause::UnknownModel | Cause::UnknownPath => (StatusCode::NOT_FOUND, "not_found_error"),
        Cause::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error"),
        Cause::Limited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error"),
        Cause::Scripted(RefusalKind::Overloaded) => {
            (StatusCode::from_u16(529).expect("three digits are a status"), "overloaded_error")
        }
        Cause::Scripted(RefusalKind::ServerError) => (StatusCode::INTERNAL_SERVER_ERROR, "api_error"),
        Cause::Scripted(RefusalKind::ContextTooLong) => (StatusCode::BAD_REQUEST, "invalid_request_error"),
        Cause::Scripted(RefusalKind::Forbidden) => (StatusCode::FORBIDDEN, "permission_error"),
        Cause::Scripted(RefusalKind::NoAccess) => (StatusCode::NOT_FOUND, "not_found_error"),
        Cause::Scripted(RefusalKind::NoCredit) => (StatusCode::PAYMENT_REQUIRED, "billing_error"),
    }
}

/// Returns the `details.error_code` of a 429, which distinguishes rate limits from an exhausted spend limit; `None` if
/// the refusal has no such code.
fn error_code(cause: &Cause) -> Option<&str> {
    let Cause::Limited { code, .. } = cause else { return None };
    match code.as_str() {
        "rate_limit_exceeded" | "requests_per_day" => None,
        "slow_down" => Some("ramp_limit_exceeded"),
        "insufficient_quota" => Some("enforced_spend_limit_reached"),
        other => Some(other),
    }
}
