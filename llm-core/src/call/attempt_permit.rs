use std::{fmt, sync::Arc};

use crate::{Charge, Error};

/// In [`Call::extensions`](super::Call::extensions): whoever makes a further attempt for a call asks here first, so that a
/// budget above covers it. The first attempt is covered.
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
/// let allowance = call.extensions.get::<AttemptPermit>();
/// assert!(allowance.is_some_and(|allowance| allowance.ask(Charge::Unknown).is_err()));
/// ```
#[derive(Clone)]
pub struct AttemptPermit(Arc<Ask>);

type Ask = dyn Fn(Charge) -> Result<(), Error> + Send + Sync;

impl AttemptPermit {
    /// An allowance that is given by a function of what the attempt before is charged with.
    pub fn new(ask: impl Fn(Charge) -> Result<(), Error> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// Asks for one more attempt, after one that failed and is charged like this.
    ///
    /// # Errors
    ///
    /// There is no room for it. The failed attempt's own error says more to the caller.
    pub fn ask(&self, failed: Charge) -> Result<(), Error> {
        (self.0)(failed)
    }
}

impl fmt::Debug for AttemptPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptPermit").finish_non_exhaustive()
    }
}
