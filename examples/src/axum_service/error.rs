use async_openai::error::OpenAIError;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

/// What went wrong, for a customer.
#[derive(Debug)]
pub struct Failure(String);

impl From<OpenAIError> for Failure {
    fn from(error: OpenAIError) -> Self {
        Self(error.to_string())
    }
}

impl From<llm_cache::CallError<OpenAIError>> for Failure {
    fn from(error: llm_cache::CallError<OpenAIError>) -> Self {
        Self(error.to_string())
    }
}

impl From<llm_core::SerializeError> for Failure {
    fn from(error: llm_core::SerializeError) -> Self {
        Self(error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (StatusCode::BAD_GATEWAY, self.0).into_response()
    }
}
