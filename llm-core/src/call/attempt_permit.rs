use std::{fmt, future::Future, pin::Pin, sync::Arc};

use crate::Error;

/// Permission for further attempts of a call, in its [`extensions`](super::Call::extensions).
///
/// A layer that retries requests it first, so that a budget above covers the attempt. The first attempt is covered. The
/// decision may need a round trip, so a request is awaited.
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
    /// Creates a permit from an asynchronous function of the error of the attempt that failed. If its future is dropped
    /// before it is ready, it must have granted nothing.
    pub fn new<D>(grant: impl Fn(Error) -> D + Send + Sync + 'static) -> Self
    where
        D: Future<Output = Result<(), Error>> + Send + 'static,
    {
        Self(Arc::new(move |failed| Box::pin(grant(failed))))
    }

    /// Requests one more attempt, after one that failed with this error. Its charge must be that of this attempt alone.
    ///
    /// # Errors
    ///
    /// The budget does not cover it. Return the failed attempt's own error to the caller, which says more.
    pub async fn request(&self, failed: &Error) -> Result<(), Error> {
        (self.0)(failed.clone()).await
    }
}

impl fmt::Debug for AttemptPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptPermit").finish_non_exhaustive()
    }
}
