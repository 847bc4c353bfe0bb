use std::{fmt, future::Future, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use llm_core::{Call, Error, ErrorKind, layer::SharedDeadline};

use crate::{
    BatchLayer, Stats,
    gather::{Deliver, Groups, Results, Size},
};

/// Batcher for items of any type and for any client.
///
/// Any items of a batcher may be sent in one request, so create a batcher for each model, tenant and priority. Clones
/// share the batches.
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
    groups: Arc<Groups>,
    tokens: Arc<dyn Fn(&I) -> u64 + Send + Sync>,
    send: Arc<Function<I, O>>,
}

/// Function that sends the items of a batch and returns one response for each item. It states no usage and no cost.
type Function<I, O> = dyn Fn(Vec<I>) -> BoxFuture<'static, Result<Vec<O>, Error>> + Send + Sync;

impl<I: Clone + Send + 'static, O: Send + 'static> Batcher<I, O> {
    /// Creates a batcher that sends the items of each batch by a function, which returns one response for each item, in order.
    ///
    /// `settings` is a [`BatchLayer`], or only its [limits](llm_core::layer::BatchLimits). If `send` fails because of
    /// the request itself ([`ErrorKind`]: `InvalidRequest`, `ContextTooLong`, `ContentFiltered`, `Malformed`), the
    /// items are sent again in two halves. Any other error is returned to all callers of the batch.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_batch::{BatchLayer, Batcher, llm_core::layer::BatchLimits};
    ///
    /// let settings = BatchLayer::new(BatchLimits::of_items(96)).max_wait(Duration::from_millis(2));
    /// let batcher = Batcher::new(settings, |items: Vec<u32>| async move { Ok(items) });
    /// assert_eq!(batcher.stats().calls, 0);
    /// ```
    pub fn new<R>(settings: impl Into<BatchLayer>, send: impl Fn(Vec<I>) -> R + Send + Sync + 'static) -> Self
    where
        R: Future<Output = Result<Vec<O>, Error>> + Send + 'static,
    {
        let groups = Groups::new(&settings.into());
        Self { groups, tokens: Arc::new(|_| 0), send: Arc::new(move |items| send(items).boxed()) }
    }

    /// Sets the function that estimates the number of input tokens of an item. The default estimate is 0, with which
    /// limits on tokens have no effect.
    ///
    /// ```
    /// use llm_batch::{Batcher, llm_core::layer::BatchLimits};
    ///
    /// let limits = BatchLimits::of_items(96).with_tokens(100_000);
    /// let batcher = Batcher::new(limits, |texts: Vec<String>| async move { Ok(texts) });
    /// let batcher = batcher.tokens(|text| text.len() as u64 / 4);
    /// # drop(batcher);
    /// ```
    #[must_use]
    pub fn tokens(mut self, tokens: impl Fn(&I) -> u64 + Send + Sync + 'static) -> Self {
        self.tokens = Arc::new(tokens);
        self
    }

    /// Sends an item, together with items that other callers submit at about the same time. Dropping the future affects
    /// no other item.
    ///
    /// # Errors
    ///
    /// The error of the function that sends the items; [`ErrorKind::Malformed`] if that function did not return one
    /// response for each item, [`ErrorKind::Overloaded`] if too many items are pending, and [`ErrorKind::Closed`] after
    /// [`close`](Self::close).
    ///
    /// ```
    /// use llm_batch::{Batcher, llm_core::{Error, ErrorKind, layer::BatchLimits}};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let batcher = Batcher::new(BatchLimits::of_items(10), |numbers: Vec<u32>| async move {
    ///     tokio::task::yield_now().await;
    ///     if numbers.contains(&13) { Err(Error::invalid("13 is refused")) } else { Ok(numbers) }
    /// });
    /// let (first, good, bad) = tokio::join!(batcher.submit(1), batcher.submit(2), batcher.submit(13));
    /// assert!(first.is_ok() && good.is_ok(), "the request of both was halved");
    /// assert_eq!(bad.map_err(|error| error.kind()), Err(ErrorKind::InvalidRequest));
    /// # }
    /// ```
    pub async fn submit(&self, item: I) -> Result<O, Error> {
        let size = Size { items: 1, tokens: (self.tokens)(&item), output: 0 };
        let most = size.room(&self.groups.shared.settings.limits);
        // All items of a batcher belong to one group, so the merge key is empty.
        Arc::clone(&self.groups).submit(Vec::new(), Call::new("", item), size, most, self.clone()).await
    }

    /// Refuses further items, closes the open batch so that it is sent, and waits until every item has its result. The
    /// futures of the callers must be polled meanwhile, because they drive the batches.
    ///
    /// ```
    /// use llm_batch::{Batcher, llm_core::{ErrorKind, layer::BatchLimits}};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let batcher = Batcher::new(BatchLimits::of_items(10), |items: Vec<u32>| async move { Ok(items) });
    /// batcher.close().await;
    /// assert_eq!(batcher.submit(1).await.map_err(|error| error.kind()), Err(ErrorKind::Closed));
    /// # }
    /// ```
    pub async fn close(&self) {
        self.groups.shared.close().await;
    }

    /// Returns the counts of calls and requests since the batcher was created.
    pub fn stats(&self) -> Stats {
        *self.groups.shared.stats()
    }
}

impl<I: Clone + Send + 'static, O: Send + 'static> Deliver<I, O> for Batcher<I, O> {
    async fn deliver(self, calls: Vec<Call<I>>, _: SharedDeadline) -> Results<O> {
        let expected = calls.len();
        let error = match (self.send)(calls.into_iter().map(|call| call.body).collect()).await {
            Ok(responses) if responses.len() == expected => return responses.into_iter().map(Ok).collect(),
            Ok(responses) => {
                let message = format!("{} responses came for {expected} items", responses.len());
                Error::new(ErrorKind::Malformed, message)
            }
            Err(error) => error,
        };
        vec![error; expected].into_iter().map(Err).collect()
    }
}

impl<I, O> Clone for Batcher<I, O> {
    fn clone(&self) -> Self {
        let (groups, tokens, send) = (Arc::clone(&self.groups), Arc::clone(&self.tokens), Arc::clone(&self.send));
        Self { groups, tokens, send }
    }
}

impl<I, O> fmt::Debug for Batcher<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("stats", &*self.groups.shared.stats()).finish_non_exhaustive()
    }
}
