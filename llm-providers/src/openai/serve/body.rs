use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use http_body::Frame;

use super::EventStream;

/// Body of a response: JSON, or server-sent events.
///
/// It implements [`http_body::Body`], so axum, hyper and tonic can send it.
///
/// ```
/// use http_body::Body as _;
/// use llm_core::{Error, ErrorKind};
/// use llm_providers::openai::serve;
///
/// let response = serve::error(&Error::new(ErrorKind::OverBudget, "the limit $3/day is used up"));
/// assert!(!response.body().is_end_stream());
/// ```
#[derive(Debug)]
pub struct Body(Inner);

#[derive(Debug)]
enum Inner {
    Whole(Option<Bytes>),
    // Boxed, so that the body of a response that is not streamed stays small.
    Events(Box<EventStream>),
}

impl Body {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Inner::Whole(Some(bytes)))
    }

    pub(super) fn events(events: EventStream) -> Self {
        Self(Inner::Events(Box::new(events)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut self.0 {
            Inner::Whole(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Inner::Events(events) => Pin::new(events).poll_next(cx),
        };
        bytes.map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Inner::Whole(None))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => http_body::SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Inner::Events(_) => http_body::SizeHint::default(),
        }
    }
}
