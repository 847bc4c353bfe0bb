use std::{
    fmt,
    future::Future,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use super::{ChatEvent, ChatResponse, aggregate::Aggregate, watchers::Watchers};
use crate::{
    Charge, Error, Usage,
    output::{End, StreamCut},
};

/// Streamed response, which yields events as they arrive.
///
/// The stream aggregates its events once for all layers, and keeps one list of hooks. The hooks run once, when the
/// stream is complete, fails or is dropped. The stream yields nothing after an error.
///
/// ```
/// # tokio_test::block_on(async {
/// use futures_util::StreamExt;
/// use llm_core::{ChatEvent, ChatStream, Output, layer::End};
///
/// let events = ["Hel", "lo"].map(|text| Ok(ChatEvent::Text { choice: 0, text: text.into() }));
/// let mut stream = ChatStream::new(futures_util::stream::iter(events))
///     .on_end(|end| assert!(matches!(end, End::Complete(response) if response.text() == "Hello")));
/// while let Some(event) = stream.next().await {
///     print!("{:?}", event?);
/// }
/// # Ok::<_, llm_core::Error>(()) }).unwrap();
/// ```
pub struct ChatStream {
    source: Option<Source>,
    aggregate: Aggregate,
    /// True if an event with content has arrived, so that the vendor may charge the call.
    has_content: bool,
    hooks: Vec<Hook>,
    watchers: Watchers,
    /// Event that has been aggregated and waits for the watchers' decision.
    held: Option<ChatEvent>,
    ended: Option<Ended>,
    /// Events that the reader still gets after a watcher has ended the stream without an error, in reverse order.
    tail: Vec<ChatEvent>,
}

type Source = Pin<Box<dyn Stream<Item = Result<ChatEvent, Error>> + Send>>;
/// Next event, and the way in which the stream ended if this event is the end.
type Next = (Option<Result<ChatEvent, Error>>, Option<Ending>);
type Hook = Box<dyn FnOnce(&Ended) + Send>;

/// End of the stream, kept for the hooks, also for those that are added after the end.
pub(super) struct Ended {
    response: ChatResponse,
    ending: Ending,
}

enum Ending {
    Whole,
    Failed(Error),
    /// A watcher ended the stream early, without an error for the reader.
    Cut,
    Dropped,
}

impl ChatStream {
    /// Creates a streamed response from its events. The end of the source means that the response is complete, so a
    /// source that breaks off must yield an error.
    ///
    /// ```
    /// use llm_core::{ChatEvent, ChatStream};
    ///
    /// # tokio_test::block_on(async {
    /// let pieces = [Ok(ChatEvent::Text { choice: 0, text: "yes".into() })];
    /// let response = ChatStream::new(futures_util::stream::iter(pieces)).complete().await?;
    /// assert_eq!(response.text(), "yes");
    /// # Ok::<_, llm_core::Error>(()) }).unwrap();
    /// ```
    pub fn new(source: impl Stream<Item = Result<ChatEvent, Error>> + Send + 'static) -> Self {
        Self {
            source: Some(Box::pin(source)),
            aggregate: Aggregate::default(),
            has_content: false,
            hooks: Vec::new(),
            watchers: Watchers::default(),
            held: None,
            ended: None,
            tail: Vec::new(),
        }
    }

    /// Returns the latest usage that the vendor has sent, if any.
    pub fn usage(&self) -> Option<Usage> {
        self.aggregate.usage()
    }

    /// Reads to the end and returns the complete response, including the events that were read before.
    ///
    /// # Errors
    ///
    /// Returns the error that ended the stream early.
    pub async fn complete(mut self) -> Result<ChatResponse, Error> {
        while let Some(event) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_next(cx)).await {
            event?;
        }
        let Ended { response, ending } = self.ended.take().expect("a stream that yields nothing more has ended");
        match ending {
            Ending::Failed(error) => Err(error),
            Ending::Whole | Ending::Cut | Ending::Dropped => Ok(response),
        }
    }

    /// Calls `f` once, when the stream has ended, or at once if it has ended already.
    pub(super) fn when_ended(mut self, f: impl FnOnce(&Ended) + Send + 'static) -> Self {
        match &self.ended {
            Some(ended) => f(ended),
            None => self.hooks.push(Box::new(f)),
        }
        self
    }

    /// Adds a watcher. The stream calls `f` with the number of bytes of output so far whenever more arrive, and `f`
    /// decides if the stream continues.
    pub(super) fn add_watcher<D>(&mut self, f: impl FnMut(u64) -> D + Send + 'static)
    where
        D: Future<Output = ControlFlow<StreamCut>> + Send + 'static,
    {
        self.watchers.add(f);
    }

    /// Aggregates an event. Returns `true` if the watchers must decide about it before the reader gets it.
    fn is_watched(&mut self, event: &ChatEvent) -> bool {
        let before = self.aggregate.output_bytes();
        self.aggregate.push(event);
        self.has_content |= event.is_content();
        self.aggregate.output_bytes() != before && !self.watchers.is_empty()
    }

    /// Polls for the next event, and holds it back until the watchers have decided to continue.
    fn poll_decided(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if self.held.is_none() {
            let Some(source) = &mut self.source else { return Poll::Ready((self.tail.pop().map(Ok), None)) };
            match ready!(source.as_mut().poll_next(cx)) {
                Some(Ok(event)) if self.is_watched(&event) => self.held = Some(event),
                Some(Ok(event)) => return Poll::Ready((Some(Ok(event)), None)),
                Some(Err(error)) => return Poll::Ready(self.failed(error)),
                None => return Poll::Ready((None, Some(Ending::Whole))),
            }
        }
        let cut = ready!(self.watchers.poll_decide(self.aggregate.output_bytes(), cx));
        let event = self.held.take().map(Ok);
        Poll::Ready(match cut {
            Some(StreamCut::Fail(error)) => self.failed(error),
            Some(StreamCut::Finish) => (event, Some(Ending::Cut)),
            None => (event, None),
        })
    }

    /// Returns the error as the last event. If content has arrived, the error has a charge, even if the layer that cut
    /// the stream off stated none.
    fn failed(&self, error: Error) -> Next {
        let error = match error.charge() {
            Charge::None if self.has_content => error.with_charge(Charge::Unknown),
            _ => error,
        };
        (Some(Err(error.clone())), Some(Ending::Failed(error)))
    }

    fn end(&mut self, ending: Ending) {
        // The source is dropped before the hooks run. If this was the last reader of a shared stream, hooks of inner
        // layers run during the drop, and therefore before the hooks of outer layers.
        self.source = None;
        self.watchers.clear();
        if let Ending::Cut = ending {
            self.tail = self.aggregate.finish_open();
        }
        let ended = Ended { response: self.aggregate.take(), ending };
        std::mem::take(&mut self.hooks).into_iter().for_each(|hook| hook(&ended));
        self.ended = Some(ended);
    }
}

impl Ended {
    /// Returns the response that the reader got, if the stream ended cleanly: all of it, or the part before the cut.
    pub(super) fn read_out(&self) -> Option<&ChatResponse> {
        matches!(self.ending, Ending::Whole | Ending::Cut).then_some(&self.response)
    }

    /// Returns the end of the stream in the form that hooks get.
    pub(super) fn end(&self) -> End<'_, ChatResponse> {
        match &self.ending {
            Ending::Whole => End::Complete(&self.response),
            Ending::Failed(error) => End::Failed(&self.response, error),
            Ending::Cut | Ending::Dropped => End::Dropped(&self.response),
        }
    }
}

impl Stream for ChatStream {
    type Item = Result<ChatEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (event, ending) = ready!(self.poll_decided(cx));
        if let Some(ending) = ending {
            self.end(ending);
        }
        Poll::Ready(event)
    }
}

impl Drop for ChatStream {
    fn drop(&mut self) {
        self.watchers.clear();
        if self.source.take().is_none() || self.hooks.is_empty() {
            return;
        }
        let ended = Ended { response: self.aggregate.take(), ending: Ending::Dropped };
        std::mem::take(&mut self.hooks).into_iter().for_each(|hook| hook(&ended));
    }
}

impl fmt::Debug for ChatStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatStream").field("output_bytes", &self.aggregate.output_bytes()).finish_non_exhaustive()
    }
}
