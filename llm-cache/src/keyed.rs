//! Calls of any type, by keys that their callers make: an operation like any other on the path.
//!
//! A value has no vendor, no model and no usage, and its call must not be repeated, because the closure runs once.

use std::{
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use llm_core::{BoxError, Call, Error, Operation, Receipt, Reply, layer::Fingerprinter};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use tokio::sync::oneshot;
use tower_service::Service;

use crate::failure::lost;

/// The operation of [`Cache::get_or_call`](crate::Cache::get_or_call).
pub(crate) struct Keyed<T>(PhantomData<fn() -> T>);

/// Response of a [`Keyed`] operation, serialized as the value within.
pub(crate) struct Value<T>(pub(crate) Arc<T>);

/// The service below a [`Keyed`] operation: the caller's own future, which is sent once the caller has made it.
pub(crate) struct Made<Fut>(Arc<Mutex<Option<oneshot::Receiver<Fut>>>>);

impl<T> Keyed<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<Fut> Made<Fut> {
    /// Returns the service, and the sender of its future.
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
    type Response = Reply<Value<T>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Reply<Value<T>>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Call<Keyed<T>>) -> Self::Future {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            // The caller makes it as soon as it leads, unless its closure panics.
            let call = made.ok_or_else(lost)?.await.map_err(|_| lost())?;
            let value = call.await.map_err(|error| Error::from(error.into()))?;
            Ok(Reply::new(Value(Arc::new(value)), Receipt::default()))
        })
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Operation for Keyed<T> {
    type Output = Value<T>;
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

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Fut> Clone for Made<Fut> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Serialize> Serialize for Value<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Self(Arc::new(value)))
    }
}
