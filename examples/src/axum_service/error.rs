use async_openai::error::OpenAIError;
use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use llm_ratelimit::Refusal;

/// What went wrong, for a customer.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    headers: HeaderMap,
    message: String,
}

impl Failure {
    fn upstream(message: String) -> Self {
        Self { status: StatusCode::BAD_GATEWAY, headers: HeaderMap::new(), message }
    }
}

impl From<OpenAIError> for Failure {
    fn from(error: OpenAIError) -> Self {
        Self::upstream(error.to_string())
    }
}

impl From<llm_cache::CallError<OpenAIError>> for Failure {
    fn from(error: llm_cache::CallError<OpenAIError>) -> Self {
        Self::upstream(error.to_string())
    }
}

impl From<llm_core::layer::SerializeError> for Failure {
    fn from(error: llm_core::layer::SerializeError) -> Self {
        Self::upstream(error.to_string())
    }
}

impl From<Refusal> for Failure {
    /// With when to come back, and how the customer's limits stand.
    fn from(refusal: Refusal) -> Self {
        let named = |(name, value): (String, String)| {
            Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(&value).ok()?))
        };
        let mut headers: HeaderMap = refusal.limit_statuses().headers().into_iter().filter_map(named).collect();
        if let Some(after) = refusal.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_nanos().div_ceil(1_000_000_000) as u64));
        }
        Self { status: StatusCode::TOO_MANY_REQUESTS, headers, message: refusal.to_string() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, self.headers, self.message).into_response()
    }
}
