//! Forwards the events of a stream from their source to the reader. The client, the `genai` bridge and the scripted
//! provider use it.
//!
//! A source reads events into a queue. The receipt and the span record them when they are read, and the reader gets
//! them one by one. The first error ends the stream. [`Forward::begin`] waits for the first content, so that an error
//! before it is returned by the call, which can then be retried.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use llm_core::{Charge, ChatEvent, ChatStream, Error, ErrorKind, Receipt, Usage};
use tokio::time::{Sleep, sleep};

use crate::{runtime, telemetry::CallSpan};

/// Largest number of events that are held back before the first content.
const MAX_HELD_EVENTS: usize = 64;
/// Longest time for which events are held back before the first content. After this time the stream is returned even
/// without content.
const MAX_HOLD: Duration = Duration::from_secs(10);

/// Source of the events of a stream.
pub(crate) trait EventSource: Unpin + Send + 'static {
    /// Reads more input, and adds the events that it contains, if any. Returns `false` at the end of the source.
    fn poll_read(&mut self, events: &mut VecDeque<ChatEvent>, cx: &mut Context<'_>) -> Poll<Result<bool, Error>>;

    /// Writes to the receipt the values that were read in addition to events, such as a service class. `usage` is that
    /// of the new events, if one of them states it.
    fn note(&mut self, _usage: Option<Usage>) {}

    /// Completes the error that ends the stream, and drops the resources of the source.
    fn fail(&mut self, error: Error) -> Error {
        error
    }
}

/// Stream of the events of a source.
pub(crate) struct Forward<S> {
    source: S,
    events: VecDeque<ChatEvent>,
    is_open: bool,
    receipt: Receipt,
    span: Option<CallSpan>,
}

impl<S: EventSource> Forward<S> {
    /// Creates a stream that completes the receipt while it is read.
    pub(crate) fn new(source: S, receipt: Receipt, span: Option<CallSpan>) -> Self {
        Self { source, events: VecDeque::new(), is_open: true, receipt, span }
    }

    /// Waits for the first content and returns the stream, which begins with the events that arrived before the
    /// content.
    ///
    /// # Errors
    ///
    /// The error that arrived before any content. The call returns this error in place of a stream.
    pub(crate) async fn begin(mut self) -> Result<ChatStream, Error> {
        let mut limit = None;
        match poll_fn(|cx| self.poll_begun(&mut limit, cx)).await {
            Ok(()) => Ok(ChatStream::new(self)),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Polls until content is in the queue, or the limit on the number or the time of held events is reached.
    fn poll_begun(&mut self, limit: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.events.len() < MAX_HELD_EVENTS && !self.events.iter().any(ChatEvent::is_content) {
            if !self.is_open {
                let error = || Error::new(ErrorKind::Malformed, "the stream ended without a response");
                let is_empty = self.events.is_empty();
                return Poll::Ready(if is_empty { Err(error().with_charge(Charge::Unknown)) } else { Ok(()) });
            }
            match self.poll_read(cx) {
                Poll::Ready(read) => read?,
                Poll::Pending if self.events.is_empty() || !runtime::is_running() => return Poll::Pending,
                Poll::Pending => {
                    return limit.get_or_insert_with(|| Box::pin(sleep(MAX_HOLD))).as_mut().poll(cx).map(Ok);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Polls for further events, and records them on the receipt and in the span.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let before = self.events.len();
        let read = ready!(self.source.poll_read(&mut self.events, cx));
        let mut new_usage = None;
        for event in self.events.range(before..) {
            match event {
                ChatEvent::Start { model, .. } if !model.is_empty() => {
                    self.receipt.edit(|accounting| accounting.model = Some(Arc::clone(model)));
                    self.span.iter().for_each(|span| span.response_model(model));
                }
                ChatEvent::Usage(usage) => {
                    self.receipt.edit(|accounting| accounting.usage = Some(*usage));
                    self.span.iter().for_each(|span| span.used(*usage));
                    new_usage = Some(*usage);
                }
                _ => {}
            }
        }
        self.source.note(new_usage);
        self.is_open = read?;
        Poll::Ready(Ok(()))
    }

    fn fail(&mut self, error: Error) -> Error {
        self.is_open = false;
        let error = self.source.fail(error);
        self.span.iter().for_each(|span| span.failed(&error));
        error
    }
}

impl<S: EventSource> Stream for Forward<S> {
    type Item = Result<ChatEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            if !self.is_open {
                return Poll::Ready(None);
            }
            if let Err(error) = ready!(self.poll_read(cx)) {
                return Poll::Ready(Some(Err(self.fail(error))));
            }
        }
    }
}
