use std::{fmt, future::Future, pin::Pin, sync::Arc};

use crate::Error;

/// Handle in a call's [`extensions`](super::Call::extensions) by which a layer asks the layers above for one more
/// attempt.
///
/// A layer that retries calls [`request`](Self::request) before each attempt but the first, so that a budget above
/// covers that attempt. The decision may need a round trip, so the method is asynchronous.
///
/// ```
/// use llm_core::{Call, Charge, Error, ErrorKind, layer::AttemptPermit};
///
/// # tokio_test::block_on(async {
/// let mut call = Call::new("acme", ());
/// call.extensions.insert(AttemptPermit::new(async |failed: Error| match failed.charge() {
///     Charge::None => Ok(()),
///     _ => Err(Error::new(ErrorKind::OverBudget, "no room for another attempt")),
/// }));
/// // A layer below, before it tries again what failed and may have been charged:
/// let permit = call.extensions.get::<AttemptPermit>().expect("it was inserted");
/// let failed = Error::new(ErrorKind::Server, "it broke").with_charge(Charge::Unknown);
/// assert!(permit.request(&failed).await.is_err());
/// # });
/// ```
#[derive(Clone)]
pub struct AttemptPermit(Arc<Grant>);

type Grant = dyn Fn(Error) -> Decision + Send + Sync;
type Decision = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

impl AttemptPermit {
    /// Creates a permit. `grant` decides about an attempt, given the error of the attempt that failed. If its future is
    /// dropped before it is ready, it must not have granted anything.
    pub fn new<D>(grant: impl Fn(Error) -> D + Send + Sync + 'static) -> Self
    where
        D: Future<Output = Result<(), Error>> + Send + 'static,
    {
        Self(Arc::new(move |failed| Box::pin(grant(failed))))
    }

    /// Requests one more attempt after an attempt that failed with the error `failed`, whose charge must be that of the
    /// failed attempt alone.
    ///
    /// # Errors
    ///
    /// The budget does not cover the attempt. Return the failed attempt's error to the caller instead, because it
    /// states the cause of the failure.
    pub async fn request(&self, failed: &Error) -> Result<(), Error> {
        (self.0)(failed.clone()).await
    }
}

impl fmt::Debug for AttemptPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptPermit").finish_non_exhaustive()
    }
}
