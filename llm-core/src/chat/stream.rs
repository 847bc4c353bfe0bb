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
}

type Source = Pin<Box<dyn Stream<Item = Result<ChatEvent, Error>> + Send>>;
type Hook = Box<dyn FnOnce(End<'_, ChatResponse>) + Send>;
type Watcher = Box<dyn FnMut(u64) -> ControlFlow<Error> + Send>;

impl ChatStream {
    /// A streamed answer made of these pieces. The source's end means that the answer is whole; a source that breaks
    /// off must yield an error.
    pub fn new(source: impl Stream<Item = Result<ChatEvent, Error>> + Send + 'static) -> Self {
        Self {
            source: Some(Box::pin(source)),
            aggregate: Aggregate::default(),
            hooks: Vec::new(),
            watchers: Vec::new(),
        }
    }

    /// What the answer took, if the vendor has said so yet.
    pub fn usage(&self) -> Option<Usage> {
        self.aggregate.usage()
    }

    /// Reads to the end.
    ///
    /// # Errors
    ///
    /// What broke the stream off.
    pub async fn complete(mut self) -> Result<ChatResponse, Error> {
        let mut whole = Aggregate::default();
        while let Some(event) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_next(cx)).await {
            whole.push(&event?);
        }
        Ok(whole.finish())
    }

    fn pass(&mut self, event: &ChatEvent) -> Result<(), Error> {
        self.aggregate.push(event);
        let bytes = self.aggregate.output_bytes();
        for watch in &mut self.watchers {
            if let ControlFlow::Break(error) = watch(bytes) {
                return Err(error);
            }
        }
        Ok(())
    }

    fn end(&mut self, how: impl Fn(&ChatResponse) -> End<'_, ChatResponse>) {
        // Innermost first, and the source after them: what they release, it may still hold.
        let source = self.source.take();
        let hooks = std::mem::take(&mut self.hooks);
        self.watchers.clear();
        if !hooks.is_empty() {
            let answer = std::mem::take(&mut self.aggregate).finish();
            hooks.into_iter().for_each(|hook| hook(how(&answer)));
        }
        drop(source);
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<ChatEvent, Error>>> {
        let seen = error.clone();
        self.end_failed(&seen);
        Poll::Ready(Some(Err(error)))
    }

    fn end_failed(&mut self, error: &Error) {
        let source = self.source.take();
        let hooks = std::mem::take(&mut self.hooks);
        self.watchers.clear();
        let answer = std::mem::take(&mut self.aggregate).finish();
        hooks.into_iter().for_each(|hook| hook(End::Failed(&answer, error)));
        drop(source);
    }
}

impl Stream for ChatStream {
    type Item = Result<ChatEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        match ready!(source.as_mut().poll_next(cx)) {
            Some(Ok(event)) => match self.pass(&event) {
                Ok(()) => Poll::Ready(Some(Ok(event))),
                Err(cut) => self.fail(cut),
            },
            Some(Err(error)) => self.fail(error),
            None => {
                self.end(|answer| End::Complete(answer));
                Poll::Ready(None)
            }
        }
    }
}

impl Drop for ChatStream {
    fn drop(&mut self) {
        self.end(|answer| End::Dropped(answer));
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
        self.hooks.push(Box::new(f));
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
