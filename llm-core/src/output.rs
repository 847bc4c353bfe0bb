use std::{any::Any, fmt, future::Future, ops::ControlFlow, pin::Pin, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Usage};

/// End of a response. A hook gets it exactly once.
#[derive(Debug)]
pub enum End<'a, C> {
    /// The whole response.
    Complete(&'a C),
    /// Broken off by an error, with what had arrived. The error of a stream that content had arrived of never has
    /// [`Charge::None`](crate::Charge::None): that becomes [`Charge::Unknown`](crate::Charge::Unknown).
    Failed(&'a C, &'a Error),
    /// Dropped by its reader, or cut off, with what had arrived.
    Dropped(&'a C),
}

impl<C> End<'_, C> {
    /// Returns the part of the response that had arrived.
    pub fn response(&self) -> &C {
        match self {
            Self::Complete(response) | Self::Failed(response, _) | Self::Dropped(response) => response,
        }
    }
}

/// Ways for a watcher to cut a response off: see [`Output::watch`].
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
    /// Ends the stream with this error, which should state its cost ([`with_charge`](crate::Error::with_charge)).
    /// Otherwise its charge is unknown.
    Fail(Error),
    /// Ends the stream cleanly there, as when the longest length is reached. Hooks learn that it was
    /// [dropped](End::Dropped), so that a part is not taken for the whole.
    Finish,
}

/// A response as a caller gets it: whole, or a stream.
///
/// Every serializable type is a response that arrives whole; [`ChatStream`](crate::ChatStream) is one
/// that does not.
pub trait Output: Sized + Send + 'static {
    /// The whole response, which is stored and which unary callers get.
    type Complete: Clone + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Calls `f` once, when the response has ended; at once if it has ended already. Hooks run in the order in which
    /// they were added, so those of inner layers first; by then, what the response was read from is released.
    fn on_end(self, f: impl FnOnce(End<'_, Self::Complete>) + Send + 'static) -> Self;

    /// Replays a stored response. A stream ends with `usage`, if it is known.
    fn replay(done: Arc<Self::Complete>, usage: Option<Usage>) -> Self;

    /// Returns the response if it arrived whole, so that its hooks have run.
    ///
    /// # Errors
    ///
    /// The response itself, if it may still run.
    fn into_whole(self) -> Result<Self::Complete, Self> {
        Err(self)
    }

    /// Turns the response into one that several callers can take.
    fn share(self) -> Shared<Self::Complete>;

    /// Takes a shared response: a stream from its first event, a unary response when it is whole.
    ///
    /// # Errors
    ///
    /// What ended the shared response.
    fn join(shared: Shared<Self::Complete>) -> impl Future<Output = Result<Self, Error>> + Send;

    /// Calls `f` with the bytes of output so far (text, reasoning, tool arguments) whenever more arrive; it may cut the
    /// response off. Its decision may need a round trip: the piece that arrived waits for it, and watchers are asked
    /// one after the other, in the order in which they were added. A decision that is not made when the response is
    /// dropped is dropped, too. A whole response is past cutting: `f` is not called.
    fn watch<D>(self, f: impl FnMut(u64) -> D + Send + 'static) -> Self
    where
        D: Future<Output = ControlFlow<StreamCut>> + Send + 'static;
}

/// A response that several callers can take: whole, or still running.
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
    /// Whole.
    Whole(Arc<C>),
    /// A response that still arrives. It runs while a caller reads it.
    Live(Arc<dyn Live<C>>),
}

/// A running response.
pub trait Live<C>: Send + Sync + 'static {
    /// Waits for the whole response, and polls it if no other caller does.
    fn wait(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Result<Arc<C>, Error>> + Send>>;

    /// Refuses further callers, so that items that were read need not be held. A reader that then falls far behind the
    /// others may be cut off with an error.
    fn close(&self) {}

    /// Returns itself, for the type that made it to downcast.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<C: 'static> Shared<C> {
    /// Waits for the whole response.
    ///
    /// # Errors
    ///
    /// What ended the response.
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
