use async_openai::error::OpenAIError;
use axum::response::{IntoResponse, Response};
use llm_core::{Error, ErrorKind, http};

/// Error response to a customer's request. [`llm_core::http`] gives its status, waiting time and limits.
#[derive(Debug)]
pub struct Failure(Error);

impl From<OpenAIError> for Failure {
    fn from(error: OpenAIError) -> Self {
        Self(Error::from_cause(ErrorKind::Server, error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(error) = self;
        (http::status(&error), http::error_headers(&error), http::message(&error).into_owned()).into_response()
    }
}
