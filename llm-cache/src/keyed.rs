//! Calls of any type, by keys that their callers make: an operation like any other on the path.

use std::{
    any::Any,
    error::Error as StdError,
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use llm_core::{Call, Error, ErrorKind, Operation, Receipt, Reply, layer::Fingerprinter};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use tower_service::Service;

/// The operation of [`Cache::get_or_call`](crate::Cache::get_or_call).
pub(crate) struct Keyed<T>(PhantomData<fn() -> T>);

/// Response of a [`Keyed`] operation, serialized as the value within.
pub(crate) struct Value<T>(pub(crate) Arc<T>);

/// The service below a [`Keyed`] operation: a closure that is called at most once.
pub(crate) struct Closure<F>(Arc<Mutex<Option<F>>>);

/// Source of the error of a closure that failed: the caller's own error.
#[derive(Debug)]
struct Failed(Arc<dyn Any + Send + Sync>);

impl<T> Keyed<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<F> Closure<F> {
    pub(crate) fn new(call: F) -> Self {
        Self(Arc::new(Mutex::new(Some(call))))
    }

    /// True if the closure was not called yet.
    pub(crate) fn is_left(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// Returns the closure's error within an error of the path. `None` if the call did not fail but panicked; `Some(None)` if
/// the error is of another type, of another caller under the same key.
pub(crate) fn failure<E: Send + Sync + 'static>(error: &Error) -> Option<Option<Arc<E>>> {
    let failed: &Failed = error.source()?.downcast_ref()?;
    Some(Arc::clone(&failed.0).downcast().ok())
}

impl<T, E, F, Fut> Service<Call<Keyed<T>>> for Closure<F>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    E: Send + Sync + 'static,
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
{
    type Response = Reply<Value<T>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Reply<Value<T>>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Call<Keyed<T>>) -> Self::Future {
        let call = self.0.lock().unwrap_or_else(PoisonError::into_inner).take().map(|call| call());
        Box::pin(async move {
            let Some(call) = call else {
                return Err(Error::new(ErrorKind::Other, "the closure of this call was called already"));
            };
            match call.await {
                Ok(value) => Ok(Reply::new(Value(Arc::new(value)), Receipt::default())),
                Err(error) => Err(Error::new(ErrorKind::Other, "the call failed").with_source(Failed(Arc::new(error)))),
            }
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

impl<F> Clone for Closure<F> {
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

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the caller's own error")
    }
}

impl StdError for Failed {}
