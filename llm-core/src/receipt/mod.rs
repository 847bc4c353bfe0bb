//! What an answer was worth: who gave it, what it took, what it cost, what it saved.

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

/// A shared handle to the facts about one answer. Cheap to clone; clones see the same facts.
///
/// At the head of a reply it says who answers; usage, cost and savings are final when the answer has ended, before the
/// hooks of outer layers run. It lives in the reply, not in the answer: a user's own answer type has no room for it,
/// and a stream's usage is not known at its head.
#[derive(Clone, Debug, Default)]
pub struct Receipt(Arc<Mutex<Accounting>>);

impl Receipt {
    /// A receipt that starts with these facts.
    pub fn new(facts: Accounting) -> Self {
        Self(Arc::new(Mutex::new(facts)))
    }

    /// The facts as they are now.
    pub fn accounting(&self) -> Accounting {
        self.lock().clone()
    }

    /// Changes the facts. `change` must not use this receipt: the facts are locked meanwhile.
    pub fn edit<R>(&self, change: impl FnOnce(&mut Accounting) -> R) -> R {
        change(&mut self.lock())
    }

    /// Tokens that producing the answer took, whenever and for whomever that was; `None` while unknown.
    pub fn usage(&self) -> Option<Usage> {
        self.lock().usage
    }

    /// Who gave the answer.
    pub fn origin(&self) -> Origin {
        self.lock().origin
    }

    /// The cost of the answer; `None` while unknown, or if no layer of the stack prices attempts.
    pub fn cost(&self) -> Option<Usd> {
        self.lock().cost
    }

    /// The amount paid to a vendor for this answer, in this call. It says if it is unknown, and why: see
    /// [`Accounting::paid`](Accounting::paid()).
    pub fn paid(&self) -> Amount {
        self.lock().paid()
    }

    /// What did not have to be paid.
    pub fn saved(&self) -> Usd {
        self.lock().saved.total()
    }

    fn lock(&self) -> MutexGuard<'_, Accounting> {
        // Accounting are plain data, whole after every statement, so a panic elsewhere does not spoil them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
