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

/// A streamed response: pieces as they arrive, then the end.
///
/// It aggregates the pieces once for all layers, and keeps one list of hooks. They run when it ends: at its end, at an
/// error, or when it is dropped. After an error, and after the end, it yields nothing more.
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
    /// True if content came, so that the vendor did work.
    has_content: bool,
    hooks: Vec<Hook>,
    watchers: Watchers,
    /// Event that is aggregated and waits for the watchers' decision.
    held: Option<ChatEvent>,
    ended: Option<Ended>,
    /// Events that the reader still gets after a clean cut, last first.
    tail: Vec<ChatEvent>,
}

type Source = Pin<Box<dyn Stream<Item = Result<ChatEvent, Error>> + Send>>;
/// The next event, and the end if it is that.
type Next = (Option<Result<ChatEvent, Error>>, Option<Ending>);
type Hook = Box<dyn FnOnce(&Ended) + Send>;

/// The end of the stream, for hooks, including those added later.
pub(super) struct Ended {
    response: ChatResponse,
    ending: Ending,
}

enum Ending {
    Whole,
    Failed(Error),
    /// Cut off, with a clean end for the reader.
    Cut,
    Dropped,
}

impl ChatStream {
    /// Creates a streamed response from its pieces. The source's end means that the response is whole; a source that
    /// breaks off must yield an error.
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

    /// Returns the usage, if it has arrived.
    pub fn usage(&self) -> Option<Usage> {
        self.aggregate.usage()
    }

    /// Reads to the end and returns the whole response, also the pieces that were read before.
    ///
    /// # Errors
    ///
    /// The error that broke the stream off.
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

    /// Calls `f` once, when it has ended; at once if it has already.
    pub(super) fn when_ended(mut self, f: impl FnOnce(&Ended) + Send + 'static) -> Self {
        match &self.ended {
            Some(ended) => f(ended),
            None => self.hooks.push(Box::new(f)),
        }
        self
    }

    /// Calls `f` with the bytes of output so far whenever more arrive.
    pub(super) fn add_watcher<D>(&mut self, f: impl FnMut(u64) -> D + Send + 'static)
    where
        D: Future<Output = ControlFlow<StreamCut>> + Send + 'static,
    {
        self.watchers.add(f);
    }

    /// Aggregates an event. Returns true if the watchers must decide on it.
    fn is_watched(&mut self, event: &ChatEvent) -> bool {
        let before = self.aggregate.output_bytes();
        self.aggregate.push(event);
        self.has_content |= event.is_content();
        self.aggregate.output_bytes() != before && !self.watchers.is_empty()
    }

    /// Polls for the next event that the watchers have decided on.
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

    /// Returns the error as the end. After content the error has a charge, even if the layer that cut the stream off
    /// states none.
    fn failed(&self, error: Error) -> Next {
        let error = match error.charge() {
            Charge::None if self.has_content => error.with_charge(Charge::Unknown),
            _ => error,
        };
        (Some(Err(error.clone())), Some(Ending::Failed(error)))
    }

    fn end(&mut self, ending: Ending) {
        // The source first: if it is the last reader of a shared stream, hooks of inner layers run now.
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
    /// Returns the response that the reader got, if the stream ended cleanly: the whole, or the part before the cut.
    pub(super) fn read_out(&self) -> Option<&ChatResponse> {
        matches!(self.ending, Ending::Whole | Ending::Cut).then_some(&self.response)
    }

    /// Returns the end as hooks get it.
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
