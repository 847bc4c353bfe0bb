use std::{any::Any, fmt, future::Future, ops::ControlFlow, pin::Pin, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Usage};

/// Way in which a response ended. Each hook gets it exactly once.
#[derive(Debug)]
pub enum End<'a, C> {
    /// The response arrived completely.
    Complete(&'a C),
    /// The response was broken off by an error. The first field is the part that had arrived. If a stream fails after
    /// content has arrived, its error never has [`Charge::None`](crate::Charge::None), which becomes
    /// [`Charge::Unknown`](crate::Charge::Unknown).
    Failed(&'a C, &'a Error),
    /// The reader dropped the response, or a watcher cut it off. The field is the part that had arrived.
    Dropped(&'a C),
}

impl<C> End<'_, C> {
    /// Returns the complete response, or the part of it that had arrived when it was broken off.
    pub fn response(&self) -> &C {
        match self {
            Self::Complete(response) | Self::Failed(response, _) | Self::Dropped(response) => response,
        }
    }
}

/// Ways in which a watcher can end a response early: see [`Output::watch`].
///
/// ```
/// use std::ops::ControlFlow;
/// use llm_core::{ChatEvent, ChatStream, Output, layer::StreamCut};
///
/// # tokio_test::block_on(async {
/// let events = ["12345", "67890"].map(|text| Ok(ChatEvent::Text { choice: 0, text: text.into() }));
/// let stream = ChatStream::new(futures_util::stream::iter(events)).watch(async |bytes| match bytes {
///     0..5 => ControlFlow::Continue(()),
///     _ => ControlFlow::Break(StreamCut::Finish),
/// });
/// assert_eq!(stream.complete().await?.text(), "12345");
/// # Ok::<_, llm_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub enum StreamCut {
    /// Ends the stream with this error, which should state its charge ([`with_charge`](crate::Error::with_charge)).
    /// Otherwise the charge is unknown.
    Fail(Error),
    /// Ends the stream without an error after the piece that has arrived, as if the largest number of output tokens
    /// were reached. Hooks get [`Dropped`](End::Dropped), so that they do not take the part for the complete response.
    Finish,
}

/// Response that a caller gets, either complete or as a stream.
///
/// Every serializable type is a response that arrives at once; [`ChatStream`](crate::ChatStream) is a response that
/// arrives in pieces.
pub trait Output: Sized + Send + 'static {
    /// Complete response, which a cache stores and unary callers get.
    type Complete: Clone + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Calls `f` once, when the response has ended, or at once if it has ended already. Hooks run in the order in which
    /// they were added, so hooks of inner layers run first. The source of the response has been dropped by then.
    fn on_end(self, f: impl FnOnce(End<'_, Self::Complete>) + Send + 'static) -> Self;

    /// Replays a stored response. A stream yields `usage` at its end, if it is given.
    fn replay(done: Arc<Self::Complete>, usage: Option<Usage>) -> Self;

    /// Returns the response if it arrived at once, so that its hooks have run.
    ///
    /// # Errors
    ///
    /// Returns the response unchanged if it may still be arriving.
    fn into_whole(self) -> Result<Self::Complete, Self> {
        Err(self)
    }

    /// Converts the response into a response that several callers can read.
    fn share(self) -> Shared<Self::Complete>;

    /// Reads a shared response: a stream from its first event, a unary response when it is complete.
    ///
    /// # Errors
    ///
    /// Returns the error that ended the shared response.
    fn join(shared: Shared<Self::Complete>) -> impl Future<Output = Result<Self, Error>> + Send;

    /// Adds a watcher: calls `f` with the number of bytes of output so far (text, reasoning, tool arguments) whenever
    /// more arrive.
    ///
    /// `f` may cut the response off. Its decision may need a round trip, so the piece that arrived is held back until
    /// the future of `f` is ready. Watchers are asked one after the other, in the order in which they were added. If
    /// the response is dropped, a pending decision is dropped too. `f` is not called for a response that arrived at
    /// once, because there is nothing left to cut off.
    fn watch<D>(self, f: impl FnMut(u64) -> D + Send + 'static) -> Self
    where
        D: Future<Output = ControlFlow<StreamCut>> + Send + 'static;
}

/// Response that several callers can read: complete, or still arriving.
///
/// ```
/// use llm_core::{Embeddings, Output};
///
/// # tokio_test::block_on(async {
/// let shared = Embeddings::new("m", vec![[0.6, 0.8].into()]).share();
/// let (one, other) = (Embeddings::join(shared.clone()).await?, Embeddings::join(shared).await?);
/// assert_eq!(one, other);
/// # Ok::<_, llm_core::Error>(()) }).unwrap();
/// ```
pub enum Shared<C> {
    /// A complete response.
    Whole(Arc<C>),
    /// A response that is still arriving. It makes progress while a caller reads it.
    Live(Arc<dyn Live<C>>),
}

/// Response that is still arriving and that several callers read.
pub trait Live<C>: Send + Sync + 'static {
    /// Waits for the complete response. If no other caller polls the source, this future does.
    fn wait(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Result<Arc<C>, Error>> + Send>>;

    /// Refuses further readers, so that pieces which every reader has read can be dropped. A reader that then falls far
    /// behind the others may get an error in place of the remaining pieces.
    fn close(&self) {}

    /// Returns `self` as `Any`, so that the type that made it can downcast it.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<C: 'static> Shared<C> {
    /// Waits for the complete response.
    ///
    /// # Errors
    ///
    /// Returns the error that ended the response.
    pub async fn whole(self) -> Result<Arc<C>, Error> {
        match self {
            Self::Whole(whole) => Ok(whole),
            Self::Live(live) => live.wait().await,
        }
    }
}

impl<C> Clone for Shared<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Whole(whole) => Self::Whole(Arc::clone(whole)),
            Self::Live(live) => Self::Live(Arc::clone(live)),
        }
    }
}

impl<C> fmt::Debug for Shared<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole(_) => "Shared::Whole",
            Self::Live(_) => "Shared::Live",
        })
    }
}

impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Output for T {
    type Complete = T;

    fn on_end(self, f: impl FnOnce(End<'_, T>) + Send + 'static) -> Self {
        f(End::Complete(&self));
        self
    }

    fn replay(done: Arc<T>, _usage: Option<Usage>) -> Self {
        Arc::unwrap_or_clone(done)
    }

    fn into_whole(self) -> Result<T, Self> {
        Ok(self)
    }

    fn share(self) -> Shared<T> {
        Shared::Whole(Arc::new(self))
    }

    async fn join(shared: Shared<T>) -> Result<Self, Error> {
        Ok(Arc::unwrap_or_clone(shared.whole().await?))
    }

    fn watch<D>(self, _f: impl FnMut(u64) -> D + Send + 'static) -> Self
    where
        D: Future<Output = ControlFlow<StreamCut>> + Send + 'static,
    {
        self
    }
}
