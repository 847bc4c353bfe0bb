use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use llm_core::ChatStream;
use serde_json::Value;

use super::{chunk::Chunker, error};

/// A streamed answer as server-sent events.
pub(super) struct StreamDecoder {
    source: Option<ChatStream>,
    chunker: Chunker,
    usage: bool,
}

impl StreamDecoder {
    /// Wraps a stream, with the usage at the end if it is wanted.
    pub(super) fn new(source: ChatStream, usage: bool) -> Self {
        Self { source: Some(source), chunker: Chunker::default(), usage }
    }

    /// The end: the usage, then the word that all is said.
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
                    return Poll::Ready(Some(event(&error::body(&broken)).into()));
                }
            }
        }
        Poll::Ready(None)
    }
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

impl Stream for StreamDecoder {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx).map(|bytes| bytes.map(Ok))
    }
}
