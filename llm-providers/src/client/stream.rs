//! Streamed response, whose server-sent events are decoded by the vendor's decoder as they arrive.

use std::{
    collections::VecDeque,
    future::Future,
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
use llm_core::{BoxError, Charge, ChatEvent, Error, ErrorKind, Receipt, Usage};
use sse_stream::{Sse, SseByteStream};
use tokio::time::{Sleep, sleep};

use super::{
    body::{EventBytes, Limits},
    exchange::Head,
};
use crate::{forward::EventSource, protocol::StreamDecoder, runtime};

/// Longest wait for the end of the body after the vendor's own end of the stream (`[DONE]`, `message_stop`), so that
/// the connection can be reused.
const LINGER: Duration = Duration::from_millis(100);

/// Events of a vendor's response as they arrive.
pub(super) struct Events<C> {
    source: Source,
    decoder: C,
    cut: Arc<AtomicBool>,
    head: Head,
    receipt: Receipt,
    /// Usage of the complete response, as the receipt states it; `None` until an event has stated it.
    usage: Option<Usage>,
    so_far: Option<Usage>,
    tier: Option<Arc<str>>,
    surcharges: Vec<Arc<str>>,
    unusable: Option<Arc<str>>,
}

enum Source {
    Open(ServerEvents),
    /// The vendor's own end of the stream has arrived, and the end of the body has not. The timer bounds the wait for
    /// the end of the body. Outside of a runtime there is no timer, and the end of the body is not awaited.
    Lingering(ServerEvents, Option<Pin<Box<Sleep>>>),
    Ended,
}

type ServerEvents = Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>> + Send>>;

impl<C: StreamDecoder> Events<C> {
    pub(super) fn new<B>(head: Head, body: B, limits: Limits, decoder: C, receipt: Receipt) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let bytes = EventBytes::new(body, limits, head.deadline.alarm());
        let cut = bytes.cut();
        let source = Source::Open(Box::pin(SseByteStream::new(bytes)));
        let (usage, so_far, tier, surcharges, unusable) = Default::default();
        Self { source, decoder, cut, head, receipt, usage, so_far, tier, surcharges, unusable }
    }

    /// Decodes one server-sent event into events of the response.
    fn take(&mut self, name: Option<&str>, data: &str, out: &mut VecDeque<ChatEvent>) -> Result<(), Error> {
        let events = self.decoder.event(name, data);
        out.extend(events.map_err(|error| self.head.with_wait(error, data.as_bytes()))?);
        Ok(())
    }

    fn finish(&mut self, out: &mut VecDeque<ChatEvent>) -> Result<bool, Error> {
        self.source = Source::Ended;
        out.extend(self.decoder.finish()?);
        Ok(false)
    }

    fn linger(&mut self) {
        if let Source::Open(events) = std::mem::replace(&mut self.source, Source::Ended) {
            self.source = Source::Lingering(events, runtime::is_running().then(|| Box::pin(sleep(LINGER))));
        }
    }
}

impl<C: StreamDecoder> EventSource for Events<C> {
    fn poll_read(&mut self, out: &mut VecDeque<ChatEvent>, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        match &mut self.source {
            Source::Ended => Poll::Ready(Ok(false)),
            Source::Open(events) => match ready!(events.as_mut().poll_next(cx)) {
                Some(Ok(event)) => {
                    let taken = event.data.map_or(Ok(()), |data| self.take(event.event.as_deref(), &data, out));
                    if self.decoder.is_done() {
                        self.linger();
                    }
                    Poll::Ready(taken.map(|()| true))
                }
                Some(Err(error)) => Poll::Ready(Err(broken(error))),
                None => Poll::Ready(self.finish(out)),
            },
            Source::Lingering(events, limit) => {
                while let Poll::Ready(rest) = events.as_mut().poll_next(cx) {
                    // Data after the vendor's own end of the stream is ignored, even an error.
                    if !matches!(rest, Some(Ok(_))) {
                        return Poll::Ready(self.finish(out));
                    }
                }
                if let Some(limit) = limit {
                    ready!(limit.as_mut().poll(cx));
                }
                Poll::Ready(self.finish(out))
            }
        }
    }

    fn note(&mut self, usage: Option<Usage>) {
        self.usage = usage.or(self.usage);
        let so_far = self.decoder.usage();
        if so_far != self.so_far {
            self.so_far = so_far;
            // The usage was recorded as that of the complete response, but a later event increased it.
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

    fn fail(&mut self, error: Error) -> Error {
        self.source = Source::Ended;
        // Details of the response are added before this error becomes the source of another one.
        let error = self.head.blame(error);
        let error = match error.kind() {
            // The last event lacked the blank line that ends it, so the response is incomplete rather than malformed.
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
        self.head.blame(error.with_accounting(self.receipt.accounting()))
    }
}

fn broken(error: sse_stream::Error) -> Error {
    match error {
        // The boxed error is one of this crate's own.
        sse_stream::Error::Body(error) => Error::from(error),
        other => Error::new(ErrorKind::Malformed, "an event of the stream is not UTF-8")
            .with_charge(Charge::Unknown)
            .with_source(other),
    }
}
