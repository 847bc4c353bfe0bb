use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use crate::Usd;

/// A paid amount that exactly one answer counts as its own.
///
/// Whoever pays a vendor puts a claim on the receipt. Of all answers that come of that purchase (a coalesced call has
/// many) the first that takes it was the useful one; if none does, the payer is told that the money was spent in vain
/// when the last copy goes. So every purchase is counted once, whoever is cancelled.
#[derive(Clone)]
pub struct Claim(Arc<Inner>);

struct Inner {
    amount: Usd,
    unclaimed: Mutex<Option<Unclaimed>>,
}

type Unclaimed = Box<dyn FnOnce(Usd) + Send>;

impl Claim {
    /// A claim on `amount`; `unclaimed` is called with it if the claim is never taken.
    pub fn new(amount: Usd, unclaimed: impl FnOnce(Usd) + Send + 'static) -> Self {
        Self(Arc::new(Inner { amount, unclaimed: Mutex::new(Some(Box::new(unclaimed))) }))
    }

    /// Takes the amount; `None` if another answer has taken it.
    pub fn take(&self) -> Option<Usd> {
        self.0.take().map(|_| self.0.amount)
    }

    /// The amount, whether taken or not.
    pub fn amount(&self) -> Usd {
        self.0.amount
    }
}

impl Inner {
    fn take(&self) -> Option<Unclaimed> {
        self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(unclaimed) = self.take() {
            unclaimed(self.amount);
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.0.amount).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_counted_exactly_once() {
        let vain = Arc::new(Mutex::new(Vec::new()));
        let claim = |amount| {
            let vain = Arc::clone(&vain);
            Claim::new(Usd::from_nanos(amount), move |lost| vain.lock().unwrap().push(lost.nanos()))
        };
        let taken = claim(1);
        let copy = taken.clone();
        assert_eq!(copy.take(), Some(Usd::from_nanos(1)));
        assert_eq!(taken.take(), None);
        drop((taken, copy));
        assert!(vain.lock().unwrap().is_empty());

        let lost = claim(2);
        drop(lost.clone());
        assert!(vain.lock().unwrap().is_empty(), "a copy is left");
        drop(lost);
        assert_eq!(*vain.lock().unwrap(), [2]);
    }
}
