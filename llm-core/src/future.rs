use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{Error, Reply};

/// Future that a layer returns. It holds either a reply that is ready, without an allocation, or another future in a
/// box.
///
/// ```
/// use llm_core::{Error, Receipt, Reply, layer::ResponseFuture};
///
/// # tokio_test::block_on(async {
/// let ready = ResponseFuture::ready(Ok(Reply::new(1, Receipt::default())));
/// let waiting = ResponseFuture::waiting(async { Ok::<_, Error>(ready.await?.map(|one| one + 1)) });
/// assert_eq!(waiting.await?.output, 2);
/// # Ok::<_, Error>(()) }).unwrap();
/// ```
pub struct ResponseFuture<O>(State<O>);

enum State<O> {
    Ready(Option<Result<Reply<O>, Error>>),
    Waiting(Pin<Box<dyn Future<Output = Result<Reply<O>, Error>> + Send>>),
}

impl<O> ResponseFuture<O> {
    /// Creates a future that is ready at once, without an allocation.
    pub fn ready(reply: Result<Reply<O>, Error>) -> Self {
        Self(State::Ready(Some(reply)))
    }

    /// Creates a future that waits for `reply`, which it boxes.
    pub fn waiting(reply: impl Future<Output = Result<Reply<O>, Error>> + Send + 'static) -> Self {
        Self(State::Waiting(Box::pin(reply)))
    }
}

// The reply is moved out as a whole and is never pinned in place.
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
