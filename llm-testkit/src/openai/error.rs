//! Refusals in OpenAI's form.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

/// A call that is not served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) kind: String,
    pub(crate) code: Option<String>,
    pub(crate) param: Option<String>,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, kind: &str, message: impl Into<String>) -> Self {
        Self { status, kind: kind.into(), code: None, param: None, message: message.into() }
    }

    /// A 400 about the parameter `param`.
    pub(crate) fn invalid(param: &str, message: impl Into<String>) -> Self {
        let refusal = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message);
        Self { param: Some(param.into()), code: Some("invalid_value".into()), ..refusal }
    }

    /// A 400 about the parameter `param`, which is missing.
    pub(crate) fn missing(param: &str) -> Self {
        Self {
            code: Some("missing_required_parameter".into()),
            ..Self::invalid(param, format!("missing parameter '{param}'"))
        }
    }

    pub(crate) fn malformed(error: &serde_json::Error) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", format!("the body is not JSON: {error}"))
    }

    pub(crate) fn no_key() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", "no bearer token in the authorization header")
    }

    pub(crate) fn unknown_key() -> Self {
        let refusal = Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", "the key is not known here");
        Self { code: Some("invalid_api_key".into()), ..refusal }
    }

    pub(crate) fn unknown_model(model: &str) -> Self {
        let refusal = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", format!("no model '{model}'"));
        Self { code: Some("model_not_found".into()), param: Some("model".into()), ..refusal }
    }

    pub(crate) fn unknown_path(path: &str) -> Self {
        let refusal = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", format!("nothing at '{path}'"));
        Self { code: Some("unknown_url".into()), ..refusal }
    }

    pub(crate) fn wrong_method() -> Self {
        let message = "this path serves another method";
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message);
        Self { code: Some("method_not_supported".into()), ..refusal }
    }

    /// A 429 whose type fits its code.
    pub(crate) fn rate_limited(code: &str) -> Self {
        let (kind, message) = match code {
            "rate_limit_exceeded" => ("requests", "rate limit reached, slow down"),
            "slow_down" => ("rate_limit_error", "traffic grew too fast, slow down"),
            _ => ("insufficient_quota", "the quota is used up, check plan and billing"),
        };
        Self { code: Some(code.into()), ..Self::new(StatusCode::TOO_MANY_REQUESTS, kind, message) }
    }

    pub(crate) fn body(&self) -> Bytes {
        error_body(&self.kind, self.code.as_deref(), self.param.as_deref(), &self.message).to_string().into()
    }
}

/// OpenAI's error object.
pub(crate) fn error_body(kind: &str, code: Option<&str>, param: Option<&str>, message: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
}
