use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use ::async_openai::error::OpenAIError;

/// Future that [`ProviderService`](super::ProviderService) returns.
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Result<reqwest::Response, OpenAIError>> + Send>>);

impl ResponseFuture {
    pub(super) fn new(call: impl Future<Output = Result<reqwest::Response, OpenAIError>> + Send + 'static) -> Self {
        Self(Box::pin(call))
    }
}

impl Future for ResponseFuture {
    type Output = Result<reqwest::Response, OpenAIError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
