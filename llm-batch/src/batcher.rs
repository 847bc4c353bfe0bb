use std::{fmt, future::Future, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use llm_core::{
    Error, ErrorKind, Priority,
    layer::{BatchLimits, CallDeadline, SharedDeadline},
};

use crate::{
    Stats,
    deliver::{Deliver, Entry},
    groups::{AnyGroups, GroupKey, Groups},
    settings::{Settings, Shared},
};

/// Sends items of any type in batches, by any client.
///
/// All items of one batcher may share a request: make one for each model, tenant and priority. Clones share the batches.
///
/// ```
/// use llm_batch::{Batcher, llm_core::{Error, layer::BatchLimits}};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Error> {
/// let batcher = Batcher::new(BatchLimits::of_items(96), |texts: Vec<String>| async move {
///     // One request, with any client. It returns one response for each item, in order.
///     Ok(texts.iter().map(String::len).collect())
/// });
/// let (one, other) = tokio::join!(batcher.submit("roof".into()), batcher.submit("wooden door".into()));
/// assert_eq!((one?, other?), (4, 11));
/// # Ok(())
/// # }
/// ```
pub struct Batcher<I, O> {
    settings: Settings,
    groups: Arc<Groups<I, O>>,
    shared: Arc<Shared>,
    tokens: Arc<dyn Fn(&I) -> u64 + Send + Sync>,
    send: Custom<I, O>,
}

/// Sends items by a function.
struct Custom<I, O>(Arc<Function<I, O>>);

type Function<I, O> = dyn Fn(Vec<I>) -> BoxFuture<'static, Result<Vec<O>, Error>> + Send + Sync;

impl<I: Clone + Send + 'static, O: Send + 'static> Batcher<I, O> {
    /// Creates a batcher that sends the items of a batch by a function. It returns one response for each, in order.
    ///
    /// The items of a call that failed because of the request itself ([`ErrorKind`]: `InvalidRequest`, `ContextTooLong`,
    /// `ContentFiltered`, `Malformed`) are sent again in halves. Any other error is that of all items.
    pub fn new<R>(limits: BatchLimits, send: impl Fn(Vec<I>) -> R + Send + Sync + 'static) -> Self
    where
        R: Future<Output = Result<Vec<O>, Error>> + Send + 'static,
    {
        Self::with(Settings::new(limits), Arc::new(|_| 0), Custom(Arc::new(move |items| send(items).boxed())))
    }

    /// Sets the function that estimates the input tokens of an item: 0 by default.
    #[must_use]
    pub fn tokens(self, tokens: impl Fn(&I) -> u64 + Send + Sync + 'static) -> Self {
        Self::with(self.settings, Arc::new(tokens), self.send)
    }

    /// Sets the longest time that an item waits for others: 10 ms by default.
    #[must_use]
    pub fn max_wait(self, wait: Duration) -> Self {
        Self::with(Settings { max_wait: wait, ..self.settings }, self.tokens, self.send)
    }

    /// Sets the most items and tokens that wait or are in flight: 10,000 and 10,000,000 by default.
    #[must_use]
    pub fn max_pending(self, items: u64, tokens: u64) -> Self {
        Self::with(Settings { max_pending: (items, tokens), ..self.settings }, self.tokens, self.send)
    }

    /// Sends an item, with others that come at about the same time. Dropped, it affects no other.
    ///
    /// # Errors
    ///
    /// The error of the function; [`ErrorKind::Malformed`] if it returned not one response for each item,
    /// [`ErrorKind::Overloaded`] if too many items are pending, and [`ErrorKind::Closed`] after [`close`](Self::close).
    pub async fn submit(&self, item: I) -> Result<O, Error> {
        let tokens = (self.tokens)(&item);
        let entry = Entry { item, items: 1, tokens, model: "".into(), permit: None };
        let key = GroupKey { merge_key: Vec::new(), tenant: "".into(), priority: Priority::default(), pinned: None };
        Arc::clone(&self.groups).submit(key, entry, CallDeadline::default(), self.send.clone()).await
    }

    /// Refuses further items, has the open batch sent, and waits until all items have ended. Their callers drive them: poll
    /// them meanwhile.
    pub async fn close(&self) {
        self.shared.close();
        self.groups.flush();
        self.shared.drained().await;
    }

    fn with(settings: Settings, tokens: Arc<dyn Fn(&I) -> u64 + Send + Sync>, send: Custom<I, O>) -> Self {
        let shared = Arc::new(Shared::new(settings.clone()));
        let groups = Arc::new(Groups::new(Arc::clone(&shared)));
        Self { settings, groups, shared, tokens, send }
    }
}

impl<I, O> Batcher<I, O> {
    /// Returns the counts since the batcher was made.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}

impl<I: Clone + Send + 'static, O: Send + 'static> Deliver<I, O> for Custom<I, O> {
    async fn deliver(self, items: Vec<I>, _: SharedDeadline) -> Vec<Result<O, Error>> {
        let expected = items.len();
        let error = match (self.0)(items).await {
            Ok(responses) if responses.len() == expected => return responses.into_iter().map(Ok).collect(),
            Ok(responses) => {
                Error::new(ErrorKind::Malformed, format!("{} responses came for {expected} items", responses.len()))
            }
            Err(error) => error,
        };
        (0..expected).map(|_| Err(error.clone())).collect()
    }

    fn used(_: &O) -> Option<u64> {
        None
    }
}

impl<I, O> Clone for Custom<I, O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I, O> Clone for Batcher<I, O> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            groups: Arc::clone(&self.groups),
            shared: Arc::clone(&self.shared),
            tokens: Arc::clone(&self.tokens),
            send: self.send.clone(),
        }
    }
}

impl<I, O> fmt::Debug for Batcher<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
