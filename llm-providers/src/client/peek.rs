use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use llm_core::BoxError;

/// Body whose first bytes have been read ahead.
pub(super) struct Peeked<B> {
    body: Pin<Box<B>>,
    first: Option<Option<Result<Frame<Bytes>, BoxError>>>,
}

impl<B> Peeked<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    /// Waits for the first bytes of a body.
    pub(super) async fn new(body: B) -> Self {
        let mut body = Box::pin(body);
        let first = poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
        Self { body, first: Some(first.map(|frame| frame.map_err(Into::into))) }
    }

    /// Returns `true` if the body begins as JSON does, and `false` if it begins as server-sent events may. Returns
    /// `None` if the body is an HTML page, or empty or unreadable so far.
    pub(super) fn is_whole(&self) -> Option<bool> {
        let frame = self.first.as_ref()?.as_ref()?.as_ref().ok()?;
        let data = frame.data_ref()?.strip_prefix("\u{feff}".as_bytes()).unwrap_or(frame.data_ref()?);
        match data.trim_ascii_start().first()? {
            b'{' | b'[' => Some(true),
            // The body is an HTML page, which the caller recognises by the content type.
            b'<' => None,
            _ => Some(false),
        }
    }
}

impl<B> Body for Peeked<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(first),
            None => self.body.as_mut().poll_frame(cx).map_err(Into::into),
        }
    }
}
