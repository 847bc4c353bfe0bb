use std::{
    any::Any,
    future::Future,
    ops::ControlFlow,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use super::{ChatEvent, ChatResponse, ChatStream};
use crate::{
    Charge, Error, ErrorKind, Output, Usage,
    broadcast::{Broadcast, Reader},
    output::{End, Live, Shared, StreamCut},
};

/// The pieces of a stored response, all available at once.
struct Replay(std::vec::IntoIter<ChatEvent>);

impl Replay {
    fn new(events: Vec<ChatEvent>) -> Self {
        Self(events.into_iter())
    }
}

impl Stream for Replay {
    type Item = Result<ChatEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

impl Output for ChatStream {
    type Complete = ChatResponse;

    fn on_end(self, f: impl FnOnce(End<'_, ChatResponse>) + Send + 'static) -> Self {
        self.when_ended(|ended| f(ended.end()))
    }

    fn replay(done: Arc<ChatResponse>, usage: Option<Usage>) -> Self {
        Self::new(Replay::new(ChatEvent::replay(&done, usage)))
    }

    fn share(self) -> Shared<ChatResponse> {
        Shared::Live(LiveChat::new(self))
    }

    async fn join(shared: Shared<ChatResponse>) -> Result<Self, Error> {
        join(shared).await
    }

    fn watch<D>(mut self, f: impl FnMut(u64) -> D + Send + 'static) -> Self
    where
        D: Future<Output = ControlFlow<StreamCut>> + Send + 'static,
    {
        self.add_watcher(f);
        self
    }
}

/// Running stream that several callers read. When it ends, it keeps the complete response, so that unary callers need
/// not aggregate the events again.
///
/// It holds a reader of its own, so that the stream accepts new readers while this value exists.
struct LiveChat {
    events: Arc<Broadcast<Box<ChatStream>>>,
    whole: Arc<OnceLock<Arc<ChatResponse>>>,
    _anchor: Option<Reader<Box<ChatStream>>>,
}

impl LiveChat {
    fn new(stream: ChatStream) -> Arc<Self> {
        let whole = Arc::new(OnceLock::new());
        let writer = Arc::clone(&whole);
        let stream = stream.when_ended(move |ended| {
            if let Some(response) = ended.read_out() {
                // `set` cannot fail, because a stream ends only once.
                let _ = writer.set(Arc::new(response.clone()));
            }
        });
        let events = Broadcast::new(Box::new(stream));
        let _anchor = events.subscribe();
        Arc::new(Self { events, whole, _anchor })
    }

    fn subscribe(&self) -> Result<Reader<Box<ChatStream>>, Error> {
        self.events.subscribe().ok_or_else(|| {
            Error::new(ErrorKind::Cancelled, "all readers of the shared response dropped it")
                .with_charge(Charge::Unknown)
        })
    }
}

/// Events for one reader of a shared stream. If the source of a shared stream panics, the shared stream ends without an
/// error. This stream then ends with an error, so that the caller does not mistake a part of the response for the
/// whole.
struct Joined {
    events: Reader<Box<ChatStream>>,
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

/// Returns the error for readers of a stream whose source panicked after the call was sent.
fn lost() -> Error {
    let reason = "the shared response broke off: its stream panicked, or the runtime that it began in has ended";
    Error::new(ErrorKind::Incomplete, reason).with_charge(Charge::Unknown)
}

/// Returns the error for a reader that fell so far behind that events it had not read were removed.
fn behind() -> Error {
    Error::new(
        ErrorKind::Incomplete,
        "the reader of a large shared response fell too far behind the others: read it faster",
    )
    .with_charge(Charge::Unknown)
}

impl Live<ChatResponse> for LiveChat {
    fn wait(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Result<Arc<ChatResponse>, Error>> + Send>> {
        Box::pin(async move {
            match self.subscribe()?.last().await {
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

async fn join(shared: Shared<ChatResponse>) -> Result<ChatStream, Error> {
    let live = match shared {
        Shared::Whole(whole) => return Ok(ChatStream::replay(whole, None)),
        Shared::Live(live) => live,
    };
    match Arc::clone(&live).as_any().downcast::<LiveChat>() {
        Ok(chat) => {
            let (events, whole) = (chat.subscribe()?, Arc::clone(&chat.whole));
            Ok(ChatStream::new(Joined { events, whole, failed: false }))
        }
        // A running response of another type offers only its complete response, not its events.
        Err(_) => Ok(ChatStream::replay(live.wait().await?, None)),
    }
}
