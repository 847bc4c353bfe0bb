//! Calls of [`Cache::get_or_call`](crate::Cache::get_or_call): an operation with responses of any type, whose keys
//! callers create.
//!
//! Such a response has no vendor, model or usage. The call is never repeated, because its closure runs only once.

use std::{
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use llm_core::{BoxError, Call, Error, Operation, Receipt, Reply, layer::Fingerprinter};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;
use tower_service::Service;

use crate::failure::lost;

/// Operation of [`Cache::get_or_call`](crate::Cache::get_or_call) with responses of type `T`. It has no fingerprint,
/// because the caller creates the key.
pub(crate) struct Keyed<T>(PhantomData<fn() -> T>);

/// Service of a [`Keyed`] operation. It awaits the future that the closure of the leader returns.
pub(crate) struct Made<Fut>(Arc<Mutex<Option<oneshot::Receiver<Fut>>>>);

impl<T> Keyed<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<Fut> Made<Fut> {
    /// Returns the service, and the sender by which the leader passes the future to it.
    pub(crate) fn new() -> (oneshot::Sender<Fut>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(Arc::new(Mutex::new(Some(receiver)))))
    }
}

impl<T, E, Fut> Service<Call<Keyed<T>>> for Made<Fut>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    E: Into<BoxError>,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
{
    type Response = Reply<Arc<T>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Reply<Arc<T>>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Call<Keyed<T>>) -> Self::Future {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            // The leader sends the future, unless its closure panics.
            let call = made.ok_or_else(lost)?.await.map_err(|_| lost())?;
            let value = call.await.map_err(|error| Error::from(error.into()))?;
            Ok(Reply::new(Arc::new(value), Receipt::default()))
        })
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Operation for Keyed<T> {
    type Output = Arc<T>;
    const NAME: &'static str = "get_or_call";

    fn model(&self) -> &'static str {
        ""
    }

    fn fingerprint(&self, _: &mut Fingerprinter) {}

    fn is_repeatable(&self) -> bool {
        false
    }
}

impl<T> Clone for Keyed<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<Fut> Clone for Made<Fut> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
