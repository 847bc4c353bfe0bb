use std::{fmt, sync::Arc};

use crate::{Charge, Error};

/// Permission for further attempts of a call, in its [`extensions`](super::Call::extensions).
///
/// A layer that retries requests it first, so that a budget above covers the attempt. The first attempt is covered.
///
/// ```
/// use llm_core::{Call, Charge, Error, ErrorKind, layer::AttemptPermit};
///
/// let mut call = Call::new("acme", ());
/// call.extensions.insert(AttemptPermit::new(|failed| match failed {
///     Charge::None => Ok(()),
///     _ => Err(Error::new(ErrorKind::OverBudget, "no room for another attempt")),
/// }));
/// // A layer below, before it tries again what failed and may have been charged:
/// let permit = call.extensions.get::<AttemptPermit>();
/// assert!(permit.is_some_and(|permit| permit.request(Charge::Unknown).is_err()));
/// ```
#[derive(Clone)]
pub struct AttemptPermit(Arc<Grant>);

type Grant = dyn Fn(Charge) -> Result<(), Error> + Send + Sync;

impl AttemptPermit {
    /// Creates a permit from a function of the charge of the attempt that failed.
    pub fn new(grant: impl Fn(Charge) -> Result<(), Error> + Send + Sync + 'static) -> Self {
        Self(Arc::new(grant))
    }

    /// Requests one more attempt, after one that failed with this charge.
    ///
    /// # Errors
    ///
    /// The budget does not cover it. Return the failed attempt's own error to the caller, which says more.
    pub fn request(&self, failed: Charge) -> Result<(), Error> {
        (self.0)(failed)
    }
}

impl fmt::Debug for AttemptPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptPermit").finish_non_exhaustive()
    }
}
