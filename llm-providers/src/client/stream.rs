//! A streamed response as it arrives.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use http_body::Body;
use llm_core::{BoxError, Charge, ChatEvent, ChatStream, Error, ErrorKind, Receipt, Usage};
use sse_stream::{Sse, SseByteStream};
use tokio::time::{Sleep, sleep};

use super::{
    body::{EventBytes, Limits},
    exchange::Head,
};
use crate::{protocol::StreamDecoder, runtime, telemetry::CallSpan};

/// Longest wait for the body's end after the vendor's own end (`[DONE]`, `message_stop`), so that the connection can be
/// reused.
const LINGER: Duration = Duration::from_millis(100);
/// Most events that are held back before the first content.
const MAX_HELD_EVENTS: usize = 64;
/// Longest time that an event is held back before the first content. The stream goes on after it, however long it
/// takes.
const MAX_HOLD: Duration = Duration::from_secs(10);

/// The pieces of a streamed response. Its receipt is filled in as they pass.
pub(super) struct Events<C> {
    source: Source,
    decoder: C,
    queue: VecDeque<ChatEvent>,
    cut: Arc<AtomicBool>,
    head: Head,
    receipt: Receipt,
    /// Usage that is on the receipt: the whole response's, and while it grows.
    usage: Option<Usage>,
    so_far: Option<Usage>,
    tier: Option<Arc<str>>,
    surcharges: Vec<Arc<str>>,
    unusable: Option<Arc<str>>,
    span: CallSpan,
}

enum Source {
    Open(ServerEvents),
    /// The vendor's own end came, and the body's end has not yet. Without a runtime nothing waits for that.
    Lingering(ServerEvents, Option<Pin<Box<Sleep>>>),
    Ended,
}

type ServerEvents = Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>> + Send>>;

impl<C: StreamDecoder> Events<C> {
    pub(super) fn new<B>(head: Head, body: B, limits: Limits, decoder: C, receipt: Receipt, span: CallSpan) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let bytes = EventBytes::new(body, limits, head.deadline.alarm());
        let cut = bytes.cut();
        let source = Source::Open(Box::pin(SseByteStream::new(bytes)));
        let (usage, so_far, tier, surcharges, unusable) = Default::default();
        Self {
            source,
            decoder,
            queue: VecDeque::new(),
            cut,
            head,
            receipt,
            usage,
            so_far,
            tier,
            surcharges,
            unusable,
            span,
        }
    }

    /// Waits for the first content and returns the stream with the events that came before it.
    ///
    /// # Errors
    ///
    /// The error that came before any content: it is the call's, and the stream never was.
    pub(super) async fn begin(mut self) -> Result<ChatStream, Error> {
        let mut limit = None;
        match poll_fn(|cx| self.poll_begun(&mut limit, cx)).await {
            Ok(()) => Ok(ChatStream::new(self)),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Waits until content is in the queue, or the limit of held events or of their time is reached.
    fn poll_begun(&mut self, limit: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.queue.len() < MAX_HELD_EVENTS && !self.queue.iter().any(ChatEvent::is_content) {
            if let Source::Ended = self.source {
                let error = || Error::new(ErrorKind::Malformed, "the stream ended without a response");
                let is_empty = self.queue.is_empty();
                return Poll::Ready(if is_empty { Err(error().with_charge(Charge::Unknown)) } else { Ok(()) });
            }
            match self.poll_source(cx) {
                Poll::Ready(read) => read?,
                Poll::Pending if self.queue.is_empty() || !runtime::is_running() => return Poll::Pending,
                Poll::Pending => {
                    return limit.get_or_insert_with(|| Box::pin(sleep(MAX_HOLD))).as_mut().poll(cx).map(Ok);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads one event of the stream into pieces.
    fn take(&mut self, name: Option<&str>, data: &str) -> Result<(), Error> {
        let events = self.decoder.event(name, data);
        self.note(events.as_deref().unwrap_or_default());
        self.queue.extend(events.map_err(|error| self.head.with_wait(error, data.as_bytes()))?);
        Ok(())
    }

    /// Puts on the receipt what these pieces tell.
    fn note(&mut self, events: &[ChatEvent]) {
        for event in events {
            match event {
                ChatEvent::Start { model, .. } if !model.is_empty() => {
                    self.span.answered(model);
                    self.receipt.edit(|accounting| accounting.model = Some(Arc::clone(model)));
                }
                ChatEvent::Usage(usage) => {
                    self.usage = Some(*usage);
                    self.span.used(*usage);
                    self.receipt.edit(|accounting| accounting.usage = Some(*usage));
                }
                _ => {}
            }
        }
        let so_far = self.decoder.usage();
        if so_far != self.so_far {
            self.so_far = so_far;
            // A usage that was taken for the whole response's, and grew.
            self.usage = self.usage.and(so_far);
            self.receipt.edit(|accounting| {
                accounting.usage = accounting.usage.and(so_far);
                accounting.usage_so_far = so_far;
                accounting.side_calls = self.decoder.side_calls().to_vec();
            });
        }
        if self.decoder.service_tier() != self.tier.as_ref() {
            self.tier = self.decoder.service_tier().cloned();
            self.receipt.edit(|accounting| accounting.service_tier.clone_from(&self.tier));
        }
        if let Some(billed) = self.decoder.billed() {
            self.receipt.edit(|accounting| accounting.cost = Some(billed));
        }
        if self.decoder.unusable_usage() != self.unusable.as_ref() {
            self.unusable = self.decoder.unusable_usage().cloned();
            self.receipt.edit(|accounting| accounting.unusable_usage.clone_from(&self.unusable));
        }
        if self.decoder.surcharges() != self.surcharges {
            self.surcharges = self.decoder.surcharges().to_vec();
            self.receipt.edit(|accounting| accounting.surcharges = self.head.surcharges(&self.surcharges));
        }
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.source = Source::Ended;
        let events = self.decoder.finish()?;
        self.note(&events);
        self.queue.extend(events);
        Ok(())
    }

    fn fail(&mut self, error: Error) -> Error {
        self.source = Source::Ended;
        // Before it becomes the source of another error.
        let error = self.head.blame(error);
        let error = match error.kind() {
            // The last event had no end: it is not wrong, it is not whole.
            ErrorKind::Malformed if self.cut.load(Ordering::Acquire) => {
                Error::new(ErrorKind::Incomplete, "the stream broke off within an event")
                    .with_charge(error.charge())
                    .with_source(error)
            }
            _ => error,
        };
        let error = match (self.usage, error.charge()) {
            (Some(usage), Charge::Unknown) => error.with_charge(Charge::Known(usage)),
            _ => error,
        };
        let error = self.head.blame(error.with_accounting(self.receipt.accounting()));
        self.span.failed(&error);
        error
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.source {
            Source::Ended => Poll::Ready(Ok(())),
            Source::Open(events) => match ready!(events.as_mut().poll_next(cx)) {
                Some(Ok(event)) => {
                    let taken = event.data.map_or(Ok(()), |data| self.take(event.event.as_deref(), &data));
                    if self.decoder.is_done() {
                        self.linger();
                    }
                    Poll::Ready(taken)
                }
                Some(Err(error)) => Poll::Ready(Err(broken(error))),
                None => Poll::Ready(self.finish()),
            },
            Source::Lingering(events, limit) => {
                while let Poll::Ready(rest) = events.as_mut().poll_next(cx) {
                    // Nothing after the vendor's own end counts, not even an error.
                    if !matches!(rest, Some(Ok(_))) {
                        return Poll::Ready(self.finish());
                    }
                }
                if let Some(limit) = limit {
                    ready!(limit.as_mut().poll(cx));
                }
                Poll::Ready(self.finish())
            }
        }
    }

    fn linger(&mut self) {
        if let Source::Open(events) = std::mem::replace(&mut self.source, Source::Ended) {
            self.source = Source::Lingering(events, runtime::is_running().then(|| Box::pin(sleep(LINGER))));
        }
    }
}

impl<C: StreamDecoder> Stream for Events<C> {
    type Item = Result<ChatEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            if let Source::Ended = self.source {
                return Poll::Ready(None);
            }
            if let Err(error) = ready!(self.poll_source(cx)) {
                return Poll::Ready(Some(Err(self.fail(error))));
            }
        }
    }
}

fn broken(error: sse_stream::Error) -> Error {
    match error {
        // Our own, through a box.
        sse_stream::Error::Body(error) => Error::from(error),
        other => Error::new(ErrorKind::Malformed, "an event of the stream is not UTF-8")
            .with_charge(Charge::Unknown)
            .with_source(other),
    }
}
