//! Accounting data of a response: origin, usage, cost, savings.

mod accounting;
mod amount;
mod cost_share;
mod savings;
mod side_call;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::accounting::{Accounting, Origin};
pub use self::amount::Amount;
pub use self::cost_share::CostShare;
pub use self::savings::{Cause, Savings};
pub use self::side_call::SideCall;
use crate::{Usage, Usd};

/// Shared handle to the accounting data of one response. Cheap to clone; clones share the data.
///
/// The origin is known when the reply arrives. Usage, cost and savings are final when the response has ended, before
/// the hooks of outer layers run. The receipt is part of the reply and not of the response, because an application's
/// own response type has no field for it, and because the usage of a stream is not known at its start.
///
/// ```
/// use llm_core::{Receipt, Usage, Usd};
///
/// let receipt = Receipt::default();
/// receipt.edit(|accounting| {
///     accounting.usage = Some(Usage::new(1_000, 50));
///     accounting.cost = Some(Usd::from_nanos(1_500));
/// });
/// assert_eq!(receipt.clone().cost(), Some(Usd::from_nanos(1_500)));
/// assert_eq!(receipt.saved(), Usd::ZERO);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Receipt(Arc<Mutex<Accounting>>);

impl Receipt {
    /// Creates a receipt from accounting data.
    #[inline]
    pub fn new(accounting: Accounting) -> Self {
        Self(Arc::new(Mutex::new(accounting)))
    }

    /// Returns the accounting data as it is now.
    pub fn accounting(&self) -> Accounting {
        self.lock().clone()
    }

    /// Changes the accounting data. The receipt is locked while `change` runs, so `change` must not use it.
    pub fn edit<R>(&self, change: impl FnOnce(&mut Accounting) -> R) -> R {
        change(&mut self.lock())
    }

    /// Returns the tokens that the production of the response took; `None` while unknown.
    #[inline]
    pub fn usage(&self) -> Option<Usage> {
        self.lock().usage
    }

    /// Returns the origin of the response.
    pub fn origin(&self) -> Origin {
        self.lock().origin
    }

    /// Returns the cost of the response at the service class at which it was served; `None` while unknown, or if the
    /// stack has no layer that prices attempts.
    pub fn cost(&self) -> Option<Usd> {
        self.lock().cost
    }

    /// Returns the list price of the response: its price if it is requested alone at the standard service class. `None`
    /// while unknown, or if the stack has no layer that prices attempts.
    pub fn list(&self) -> Option<Usd> {
        self.lock().list
    }

    /// Returns the amount that this call paid a vendor for the response, or the reason why it is unknown: see
    /// [`Accounting::paid`](Accounting::paid()).
    pub fn paid(&self) -> Amount {
        self.lock().paid()
    }

    /// Returns the sum of the saved amounts. It is negative if a dearer service class cost more than was saved
    /// otherwise.
    pub fn saved(&self) -> Usd {
        self.lock().saved.total()
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Accounting> {
        // A poisoned lock is safe to use, because the accounting data is consistent after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
