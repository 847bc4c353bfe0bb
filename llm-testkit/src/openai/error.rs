//! Encoding of refusals in OpenAI's format and its dialects.

use crate::fault::RefusalKind;
use crate::flavor::Flavor;
use crate::refusal::{Cause, Refusal};
use http::StatusCode;
use serde_json::{Value, json};

/// Returns the status and the body of a refusal.
pub(super) fn refuse(flavor: Flavor, refusal: &Refusal) -> (StatusCode, Value) {
    let (status, kind, code) = row(refusal);
    let status = status_of(flavor, refusal, status);
    let Refusal { param, .. } = refusal;
    let message = &worded(flavor, refusal);
    let body = match flavor {
        Flavor::OpenAi | Flavor::Groq | Flavor::Ollama => error_body(kind, code, param.as_deref(), message),
        Flavor::Azure => azure(refusal, status, kind, code),
        Flavor::Mistral if refusal.cause == Cause::UnknownKey || refusal.cause == Cause::NoKey => {
            json!({"detail": message})
        }
        Flavor::Mistral => {
            json!({"object": "error", "message": message, "type": kind, "param": param, "code": status.as_str()})
        }
        Flavor::Vllm => json!({"error": {"message": message, "type": kind_at_vllm(refusal), "param": param,
            "code": status.as_u16()}}),
        Flavor::DeepSeek => match refusal.cause {
            Cause::NoKey | Cause::UnknownKey => {
                error_body("authentication_error", Some("invalid_request_error"), None, message)
            }
            _ => error_body(kind, code.or(Some("invalid_request_error")), param.as_deref(), message),
        },
        Flavor::OpenRouter => {
            let metadata = json!({"provider_name": "Simulated", "raw": message});
            let mut error = json!({"message": message, "code": status.as_u16()});
            if !matches!(refusal.cause, Cause::NoKey | Cause::UnknownKey) {
                error["metadata"] = metadata;
            }
            json!({"error": error})
        }
    };
    (status, body)
}

/// Returns the message of a refusal. Vendors without a code for a prompt that is too long state this reason in the
/// message.
fn worded(flavor: Flavor, refusal: &Refusal) -> String {
    match (flavor, &refusal.cause) {
        (Flavor::Mistral, Cause::Scripted(RefusalKind::ContextTooLong)) => {
            "Prompt contains 40000 tokens, too large for model with 32768 maximum context length".into()
        }
        (Flavor::OpenRouter, Cause::Scripted(RefusalKind::ContextTooLong)) => {
            "This endpoint's maximum context length is 32768 tokens. However, you requested about 40000 tokens".into()
        }
        (Flavor::Vllm, Cause::Scripted(RefusalKind::ContextTooLong)) => {
            "This model's maximum context length is 32768 tokens. However, you requested 40000 tokens".into()
        }
        _ => refusal.message.clone(),
    }
}

/// Returns vLLM's type of error, which follows from the status.
fn kind_at_vllm(refusal: &Refusal) -> &'static str {
    match row(refusal).0 {
        StatusCode::NOT_FOUND => "NotFoundError",
        StatusCode::UNAUTHORIZED => "AuthenticationError",
        StatusCode::FORBIDDEN => "PermissionDeniedError",
        StatusCode::TOO_MANY_REQUESTS => "RateLimitError",
        status if status.is_server_error() => "InternalServerError",
        _ => "BadRequestError",
    }
}

fn row(refusal: &Refusal) -> (StatusCode, &'static str, Option<&str>) {
    const INVALID: &str = "invalid_request_error";
    match &refusal.cause {
        Cause::Invalid => (StatusCode::BAD_REQUEST, INVALID, Some("invalid_value")),
        Cause::Missing => (StatusCode::BAD_REQUEST, INVALID, Some("missing_required_parameter")),
        Cause::Malformed => (StatusCode::BAD_REQUEST, INVALID, None),
        Cause::NoKey => (StatusCode::UNAUTHORIZED, INVALID, None),
        Cause::UnknownKey => (StatusCode::UNAUTHORIZED, INVALID, Some("invalid_api_key")),
        Cause::UnknownModel => (StatusCode::NOT_FOUND, INVALID, Some("model_not_found")),
        Cause::UnknownPath => (StatusCode::NOT_FOUND, INVALID, Some("unknown_url")),
        Cause::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, INVALID, Some("method_not_supported")),
        Cause::Filtered => (StatusCode::BAD_REQUEST, INVALID, Some("content_filter")),
        Cause::Limited { code, .. } => {
            let (kind, code) = match code.as_str() {
                "rate_limit_exceeded" | "requests_per_day" => ("requests", "rate_limit_exceeded"),
                "tokens" => ("tokens", "rate_limit_exceeded"),
                "slow_down" => ("rate_limit_error", "slow_down"),
                other => ("insufficient_quota", other),
            };
            (StatusCode::TOO_MANY_REQUESTS, kind, Some(code))
        }
        Cause::Scripted(kind) => scripted(*kind),
    }
}

fn scripted(kind: RefusalKind) -> (StatusCode, &'static str, Option<&'static str>) {
    match kind {
        RefusalKind::Overloaded => {
            (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable_error", Some("server_is_overloaded"))
        }
        RefusalKind::ServerError => (StatusCode::INTERNAL_SERVER_ERROR, "server_error", None),
        RefusalKind::ContextTooLong => {
            (StatusCode::BAD_REQUEST, "invalid_request_error", Some("context_length_exceeded"))
        }
        RefusalKind::Forbidden => (StatusCode::FORBIDDEN, "invalid_request_error", Some("permission_denied")),
        RefusalKind::NoAccess => (StatusCode::NOT_FOUND, "invalid_request_error", Some("model_not_found")),
        RefusalKind::NoCredit => {
            (StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", Some("credit_balance_exhausted"))
        }
    }
}

/// Returns the status; 402 for a lack of money at vendors that use it.
fn status_of(flavor: Flavor, refusal: &Refusal, status: StatusCode) -> StatusCode {
    let money = match &refusal.cause {
        Cause::Scripted(kind) => *kind == RefusalKind::NoCredit,
        Cause::Limited { code, .. } => code == "insufficient_quota",
        _ => false,
    };
    let pays = matches!(flavor, Flavor::DeepSeek | Flavor::OpenRouter);
    if money && pays { StatusCode::PAYMENT_REQUIRED } else { status }
}

fn azure(refusal: &Refusal, status: StatusCode, kind: &str, code: Option<&str>) -> Value {
    let message = &refusal.message;
    match &refusal.cause {
        Cause::NoKey | Cause::UnknownKey => json!({"error": {"code": status.as_str(), "message": message}}),
        Cause::UnknownModel => json!({"error": {"type": kind, "code": "DeploymentNotFound", "message": message}}),
        Cause::Limited { .. } => {
            json!({"error": {"code": "RateLimitReached", "message": message, "details": message}})
        }
        Cause::Filtered => {
            let mut body = error_body(kind, code, refusal.param.as_deref(), message);
            body["error"]["innererror"] = json!({"code": "ResponsibleAIPolicyViolation",
                "content_filter_result": {"violence": {"filtered": true, "severity": "high"}}});
            body
        }
        _ => error_body(kind, code, refusal.param.as_deref(), message),
    }
}

/// Returns OpenAI's error object.
fn error_body(kind: &str, code: Option<&str>, param: Option<&str>, message: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
}
