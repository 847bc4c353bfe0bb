use std::{
    fmt,
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use super::{ChatEvent, ChatResponse, aggregate::Aggregate, live};
use crate::{End, Error, Output, Shared, Usage};

/// A streamed answer: pieces as they come, then the end.
///
/// It puts the pieces together as they pass, once for all layers, and keeps one list of hooks that run when it ends: at
/// its end, at an error, or when it is dropped. After an error, and after the end, it yields nothing more.
///
/// ```
/// # tokio_test::block_on(async {
/// use futures_util::StreamExt;
/// use llm_core::{ChatEvent, ChatStream, End, Output};
///
/// let events = ["Hel", "lo"].map(|text| Ok(ChatEvent::Text { choice: 0, text: text.into() }));
/// let mut stream = ChatStream::new(futures_util::stream::iter(events))
///     .on_end(|end| assert!(matches!(end, End::Complete(answer) if answer.text() == "Hello")));
/// while let Some(event) = stream.next().await {
///     print!("{:?}", event?);
/// }
/// # Ok::<_, llm_core::Error>(()) }).unwrap();
/// ```
pub struct ChatStream {
    source: Option<Source>,
    aggregate: Aggregate,
    hooks: Vec<Hook>,
    watchers: Vec<Watcher>,
    ended: Option<Ended>,
}

type Source = Pin<Box<dyn Stream<Item = Result<ChatEvent, Error>> + Send>>;
type Hook = Box<dyn FnOnce(End<'_, ChatResponse>) + Send>;
type Watcher = Box<dyn FnMut(u64) -> ControlFlow<Error> + Send>;

/// How it ended, for hooks that come late.
struct Ended {
    answer: ChatResponse,
    error: Option<Error>,
}

impl ChatStream {
    /// A streamed answer made of these pieces. The source's end means that the answer is whole; a source that breaks
    /// off must yield an error.
    pub fn new(source: impl Stream<Item = Result<ChatEvent, Error>> + Send + 'static) -> Self {
        Self {
            source: Some(Box::pin(source)),
            aggregate: Aggregate::default(),
            hooks: Vec::new(),
            watchers: Vec::new(),
            ended: None,
        }
    }

    /// What the answer took, if the vendor has said so yet.
    pub fn usage(&self) -> Option<Usage> {
        self.aggregate.usage()
    }

    /// Reads to the end. Gives the whole answer, also the pieces that were read before.
    ///
    /// # Errors
    ///
    /// What broke the stream off.
    pub async fn complete(mut self) -> Result<ChatResponse, Error> {
        while let Some(event) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_next(cx)).await {
            event?;
        }
        let Ended { answer, error } = self.ended.take().expect("a stream that yields nothing more has ended");
        error.map_or(Ok(answer), Err)
    }

    fn pass(&mut self, event: &ChatEvent) -> Result<(), Error> {
        let before = self.aggregate.output_bytes();
        self.aggregate.push(event);
        let bytes = self.aggregate.output_bytes();
        if bytes == before {
            return Ok(());
        }
        for watch in &mut self.watchers {
            if let ControlFlow::Break(error) = watch(bytes) {
                return Err(error);
            }
        }
        Ok(())
    }

    fn end(&mut self, error: Option<Error>) {
        // The source first: if it is the last reader of a shared stream, hooks further in run now.
        self.source = None;
        self.watchers.clear();
        let ended = Ended { answer: self.aggregate.take(), error };
        std::mem::take(&mut self.hooks).into_iter().for_each(|hook| hook(ended.how()));
        self.ended = Some(ended);
    }
}

impl Ended {
    fn how(&self) -> End<'_, ChatResponse> {
        match &self.error {
            Some(error) => End::Failed(&self.answer, error),
            None => End::Complete(&self.answer),
        }
    }
}

impl Stream for ChatStream {
    type Item = Result<ChatEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        let event = match ready!(source.as_mut().poll_next(cx)) {
            Some(event) => event.and_then(|event| self.pass(&event).map(|()| event)),
            None => {
                self.end(None);
                return Poll::Ready(None);
            }
        };
        if let Err(error) = &event {
            self.end(Some(error.clone()));
        }
        Poll::Ready(Some(event))
    }
}

impl Drop for ChatStream {
    fn drop(&mut self) {
        if self.source.take().is_none() || self.hooks.is_empty() {
            return;
        }
        let answer = self.aggregate.take();
        std::mem::take(&mut self.hooks).into_iter().for_each(|hook| hook(End::Dropped(&answer)));
    }
}

impl fmt::Debug for ChatStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatStream").field("output_bytes", &self.aggregate.output_bytes()).finish_non_exhaustive()
    }
}

impl Output for ChatStream {
    type Complete = ChatResponse;

    fn on_end(mut self, f: impl FnOnce(End<'_, ChatResponse>) + Send + 'static) -> Self {
        match &self.ended {
            Some(ended) => f(ended.how()),
            None => self.hooks.push(Box::new(f)),
        }
        self
    }

    fn replay(done: Arc<ChatResponse>, usage: Option<Usage>) -> Self {
        Self::new(live::Replay::new(ChatEvent::replay(&done, usage)))
    }

    fn share(self) -> Shared<ChatResponse> {
        Shared::Live(live::LiveChat::new(self))
    }

    async fn join(shared: Shared<ChatResponse>) -> Result<Self, Error> {
        live::join(shared).await
    }

    fn watch(mut self, f: impl FnMut(u64) -> ControlFlow<Error> + Send + 'static) -> Self {
        self.watchers.push(Box::new(f));
        self
    }
}
