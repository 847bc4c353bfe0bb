//! Tests of streamed responses: their ends, their assembly, and several readers of one stream.

mod ending;
mod response;
mod shared;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use llm_core::{ChatEvent, ChatStream, Error, ErrorKind, Output, layer::End};

const UNBROKEN: &str = "nobody panics while it is locked";

type Log = Arc<Mutex<Vec<String>>>;

/// Source of a vendor's stream that the test controls. It yields nothing until the test adds an item, and ends when the
/// test ends it.
#[derive(Clone, Default)]
struct Feed(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    ready: VecDeque<Option<Result<ChatEvent, Error>>>,
    panics: bool,
    waker: Option<Waker>,
}

struct Fed(Feed, Log);

impl Feed {
    /// Returns the stream. The log records when the source is dropped.
    fn stream(&self, log: &Log) -> ChatStream {
        ChatStream::new(Fed(self.clone(), Arc::clone(log)))
    }

    fn push(&self, event: Option<Result<ChatEvent, Error>>) {
        self.change(|inner| inner.ready.push_back(event));
    }

    fn panic(&self) {
        self.change(|inner| inner.panics = true);
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let waker = {
            let mut inner = self.0.lock().expect(UNBROKEN);
            change(&mut inner);
            inner.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Stream for Fed {
    type Item = Result<ChatEvent, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut inner = self.0.0.lock().expect(UNBROKEN);
        if let Some(event) = inner.ready.pop_front() {
            return Poll::Ready(event);
        }
        let panics = inner.panics;
        inner.waker = Some(cx.waker().clone());
        drop(inner);
        assert!(!panics, "the vendor's stream panics, as it should here");
        Poll::Pending
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        self.1.lock().expect(UNBROKEN).push("source dropped".to_owned());
    }
}

fn text(text: &str) -> ChatEvent {
    ChatEvent::Text { choice: 0, text: text.into() }
}

fn broken() -> Error {
    Error::new(ErrorKind::Incomplete, "broken")
}

/// Adds a hook that logs its name, the end of the response, and the part that had arrived.
fn hooked(stream: ChatStream, name: &'static str, log: &Log) -> ChatStream {
    let log = Arc::clone(log);
    stream.on_end(move |end| {
        let line = match end {
            End::Complete(response) => format!("{name}: complete {:?}", response.text()),
            End::Failed(response, error) => format!("{name}: failed {:?} {:?}", response.text(), error.kind()),
            End::Dropped(response) => format!("{name}: dropped {:?}", response.text()),
        };
        log.lock().expect(UNBROKEN).push(line);
    })
}

fn lines(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().expect(UNBROKEN))
}
