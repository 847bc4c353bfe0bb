use async_openai::error::OpenAIError;
use axum::response::{IntoResponse, Response};
use llm_core::{Error, ErrorKind, http};
use llm_ratelimit::Refusal;

/// Failure of a request, for a customer: status, waiting time and limits by [`llm_core::http`].
#[derive(Debug)]
pub struct Failure(Error);

impl From<OpenAIError> for Failure {
    fn from(error: OpenAIError) -> Self {
        Self(Error::new(ErrorKind::Server, error.to_string()))
    }
}

impl From<llm_cache::CallError<OpenAIError>> for Failure {
    fn from(error: llm_cache::CallError<OpenAIError>) -> Self {
        Self(Error::new(ErrorKind::Server, error.to_string()))
    }
}

impl From<llm_core::layer::SerializeError> for Failure {
    fn from(error: llm_core::layer::SerializeError) -> Self {
        Self(Error::invalid(error.to_string()))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(error) = self;
        (http::status(&error), http::error_headers(&error), http::message(&error).into_owned()).into_response()
    }
}
