use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use llm_core::ChatStream;
use serde_json::Value;

use super::{audience::Audience, chunk::Chunker, error};

/// A streamed response as server-sent events in OpenAI's form: an event for each chunk, then `[DONE]`.
///
/// A stream that breaks off ends with an event that holds the error, and without `[DONE]`. When the client disconnects
/// and the events are dropped, the response is dropped too.
///
/// ```
/// use futures_util::TryStreamExt;
/// use llm_core::{ChatEvent, ChatStream, FinishReason};
/// use llm_providers::openai::serve::EventStream;
///
/// # tokio_test::block_on(async {
/// let pieces = [
///     Ok(ChatEvent::Text { choice: 0, text: "yes".into() }),
///     Ok(ChatEvent::Finish { choice: 0, reason: FinishReason::Stop }),
/// ];
/// let events = EventStream::new(ChatStream::new(futures_util::stream::iter(pieces)));
/// let bytes = events.try_collect::<Vec<_>>().await?.concat();
/// assert!(bytes.starts_with(b"data: {") && bytes.ends_with(b"\n\ndata: [DONE]\n\n"));
/// # Ok::<_, std::convert::Infallible>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct EventStream {
    source: Option<ChatStream>,
    chunker: Chunker,
    audience: Audience,
    usage: bool,
}

impl EventStream {
    /// Creates the events of a streamed response.
    pub fn new(source: ChatStream) -> Self {
        Self::with_audience(source, Audience::CLIENTS)
    }

    pub(crate) fn with_audience(source: ChatStream, audience: Audience) -> Self {
        Self { source: Some(source), chunker: Chunker::new(audience), audience, usage: false }
    }

    /// Adds a last chunk that states the usage and has no choice, as `stream_options.include_usage` requests. It is off
    /// by default, because many clients expect a choice in every chunk.
    pub fn include_usage(self, on: bool) -> Self {
        Self { usage: on, ..self }
    }

    /// Ends the stream: returns the chunk with the usage if it was requested, and `[DONE]`.
    fn end(&mut self) -> Bytes {
        self.source = None;
        let mut text = String::new();
        if let Some(usage) = self.chunker.usage().filter(|_| self.usage) {
            text.push_str(&event(&usage));
        }
        text.push_str("data: [DONE]\n\n");
        text.into()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while let Some(source) = &mut self.source {
            let chunk = match ready!(Pin::new(source).poll_next(cx)) {
                Some(Ok(piece)) => self.chunker.event(piece),
                Some(Err(error)) => Err(error),
                None => return Poll::Ready(Some(self.end())),
            };
            match chunk {
                Ok(None) => {}
                Ok(Some(chunk)) => return Poll::Ready(Some(event(&chunk).into())),
                Err(broken) => {
                    self.source = None;
                    return Poll::Ready(Some(event(&error::body(&broken, self.audience)).into()));
                }
            }
        }
        Poll::Ready(None)
    }
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

impl From<ChatStream> for EventStream {
    fn from(stream: ChatStream) -> Self {
        Self::new(stream)
    }
}

impl Stream for EventStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx).map(|bytes| bytes.map(Ok))
    }
}
