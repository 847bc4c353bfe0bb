//! The future of our layers.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{Error, Reply};

/// A reply that is there already, or one to wait for. It takes one allocation to wait, none to be ready.
pub struct ResponseFuture<O>(State<O>);

enum State<O> {
    Ready(Option<Result<Reply<O>, Error>>),
    Waiting(Pin<Box<dyn Future<Output = Result<Reply<O>, Error>> + Send>>),
}

impl<O> ResponseFuture<O> {
    /// A reply that is there already.
    pub fn ready(reply: Result<Reply<O>, Error>) -> Self {
        Self(State::Ready(Some(reply)))
    }

    /// A reply to wait for.
    pub fn waiting(reply: impl Future<Output = Result<Reply<O>, Error>> + Send + 'static) -> Self {
        Self(State::Waiting(Box::pin(reply)))
    }
}

// The answer is moved out whole and never pinned in place.
impl<O> Unpin for ResponseFuture<O> {}

impl<O> Future for ResponseFuture<O> {
    type Output = Result<Reply<O>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(reply) => Poll::Ready(reply.take().expect("polled after it was ready")),
            State::Waiting(reply) => reply.as_mut().poll(cx),
        }
    }
}

impl<O> fmt::Debug for ResponseFuture<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
