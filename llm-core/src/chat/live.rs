use std::{
    any::Any,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use super::{ChatEvent, ChatResponse, ChatStream};
use crate::{
    Charge, Error, ErrorKind, Output,
    broadcast::{Broadcast, Reader},
    output::{Live, Shared},
};

/// The pieces of a stored answer, all there at once.
pub(super) struct Replay(std::vec::IntoIter<ChatEvent>);

impl Replay {
    pub(super) fn new(events: Vec<ChatEvent>) -> Self {
        Self(events.into_iter())
    }
}

impl Stream for Replay {
    type Item = Result<ChatEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

/// A running stream that several callers read. It keeps the whole answer at its end, so that callers who want only that
/// need not put it together again.
///
/// It reads along without looking, so that the stream goes on while somebody holds this and may still join.
pub(super) struct LiveChat {
    events: Arc<Broadcast<ChatStream>>,
    whole: Arc<OnceLock<Arc<ChatResponse>>>,
    _anchor: Option<Reader<ChatStream>>,
}

impl LiveChat {
    pub(super) fn new(stream: ChatStream) -> Arc<Self> {
        let whole = Arc::new(OnceLock::new());
        let kept = Arc::clone(&whole);
        let stream = stream.when_ended(move |ended| {
            if let Some(answer) = ended.read_out() {
                // A stream ends once, so nothing was there before.
                let _ = kept.set(Arc::new(answer.clone()));
            }
        });
        let events = Broadcast::new(stream);
        let _anchor = events.read();
        Arc::new(Self { events, whole, _anchor })
    }

    fn read(&self) -> Result<Reader<ChatStream>, Error> {
        self.events
            .read()
            .ok_or_else(|| Error::new(ErrorKind::Cancelled, "the shared answer was given up by all its readers"))
    }
}

/// One reader's pieces. A shared stream also ends, without a word, where it panicked; here that is an error, so that what
/// came is not taken for the whole.
struct Joined {
    events: Reader<ChatStream>,
    whole: Arc<OnceLock<Arc<ChatResponse>>>,
    failed: bool,
}

impl Stream for Joined {
    type Item = Result<ChatEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = ready!(Pin::new(&mut self.events).poll_next(cx));
        if event.is_none() && !self.failed {
            let error = if self.events.has_missed() { Some(behind()) } else { None };
            if let Some(error) = error.or_else(|| self.whole.get().is_none().then(lost)) {
                self.failed = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
        self.failed |= matches!(event, Some(Err(_)));
        Poll::Ready(event)
    }
}

/// The error of a stream that panicked after it had been sent.
fn lost() -> Error {
    let reason = "the shared answer broke off: its stream panicked, or the runtime that it began in has ended";
    Error::new(ErrorKind::Incomplete, reason).with_charge(Charge::Unknown)
}

/// The reader was so slow that what he had not read yet is gone.
fn behind() -> Error {
    Error::new(
        ErrorKind::Incomplete,
        "the reader of a large shared answer fell too far behind the others: read it faster",
    )
    .with_charge(Charge::Unknown)
}

impl Live<ChatResponse> for LiveChat {
    fn wait(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Result<Arc<ChatResponse>, Error>> + Send>> {
        Box::pin(async move {
            match self.read()?.last().await {
                Some(Err(error)) => Err(error),
                _ => self.whole.get().cloned().ok_or_else(lost),
            }
        })
    }

    fn close(&self) {
        self.events.close();
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

pub(super) async fn join(shared: Shared<ChatResponse>) -> Result<ChatStream, Error> {
    let live = match shared {
        Shared::Whole(whole) => return Ok(ChatStream::replay(whole, None)),
        Shared::Live(live) => live,
    };
    match Arc::clone(&live).as_any().downcast::<LiveChat>() {
        Ok(chat) => {
            let (events, whole) = (chat.read()?, Arc::clone(&chat.whole));
            Ok(ChatStream::new(Joined { events, whole, failed: false }))
        }
        // Another kind of running answer: its pieces cannot be had, its whole can.
        Err(_) => Ok(ChatStream::replay(live.wait().await?, None)),
    }
}
