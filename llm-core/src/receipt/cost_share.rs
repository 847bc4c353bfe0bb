use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::Usd;

/// A paid amount that exactly one answer counts as its own.
///
/// Whoever pays a vendor puts a claim on the receipt. Of all answers that come of that purchase (a coalesced call has
/// many) the first that takes it was the useful one; what none takes was spent in vain. The payer is told when that is known
/// of all of it. So every purchase is counted once, whoever is cancelled. A purchase that answers several questions at
/// once is [split](Self::split) among them.
#[derive(Clone)]
pub struct CostShare(Form);

#[derive(Clone)]
enum Form {
    Share(Arc<Share>),
    All(Arc<[CostShare]>),
}

struct Share {
    amount: Usd,
    taken: AtomicBool,
    purchase: Arc<Purchase>,
}

struct Purchase(Mutex<Open>);

/// What is not known yet of a purchase.
struct Open {
    shares: usize,
    lost: Usd,
    settle: Option<Settle>,
}

type Settle = Box<dyn FnOnce(Usd) + Send>;

impl CostShare {
    /// A claim on `amount`. `settle` is called once, with the part of it that is lost: as soon as all is taken, or when the
    /// last copy of the last share goes.
    pub fn new(amount: Usd, settle: impl FnOnce(Usd) + Send + 'static) -> Self {
        let open = Open { shares: 1, lost: Usd::ZERO, settle: Some(Box::new(settle)) };
        Self::share(amount, &Arc::new(Purchase(Mutex::new(open))))
    }

    /// One claim on all that several claims are on.
    pub fn all(claims: Vec<Self>) -> Self {
        Self(Form::All(claims.into()))
    }

    /// Takes the amount, or what is left of several; `None` if other answers have taken it.
    pub fn take(&self) -> Option<Usd> {
        match &self.0 {
            Form::Share(share) => share.take().then(|| {
                share.purchase.settle(Usd::ZERO);
                share.amount
            }),
            Form::All(claims) => claims.iter().filter_map(Self::take).reduce(|a, b| a + b),
        }
    }

    /// Splits what is left among several questions, in proportion to `weights`; the shares add up exactly. This claim
    /// and its copies then count as taken. `None` if other answers have taken it, for a claim on several, and without
    /// weights.
    pub fn split(&self, weights: &[u64]) -> Option<Vec<Self>> {
        let Form::Share(share) = &self.0 else { return None };
        if weights.is_empty() || !share.take() {
            return None;
        }
        share.purchase.open().shares += weights.len() - 1;
        Some(share.amount.split(weights).into_iter().map(|part| Self::share(part, &share.purchase)).collect())
    }

    /// The amount, whether taken or not.
    pub fn amount(&self) -> Usd {
        match &self.0 {
            Form::Share(share) => share.amount,
            Form::All(claims) => claims.iter().map(Self::amount).sum(),
        }
    }

    fn share(amount: Usd, purchase: &Arc<Purchase>) -> Self {
        let purchase = Arc::clone(purchase);
        Self(Form::Share(Arc::new(Share { amount, taken: AtomicBool::new(false), purchase })))
    }
}

impl Share {
    fn take(&self) -> bool {
        !self.taken.swap(true, Ordering::AcqRel)
    }
}

impl Purchase {
    /// One share more is known to be taken, or to be lost.
    fn settle(&self, lost: Usd) {
        let told = {
            let mut open = self.open();
            open.shares -= 1;
            open.lost += lost;
            if open.shares > 0 {
                return;
            }
            open.settle.take().map(|settle| (settle, open.lost))
        };
        // Outside the lock: it may come back here.
        if let Some((settle, lost)) = told {
            settle(lost);
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.take() {
            self.purchase.settle(self.amount);
        }
    }
}

impl fmt::Debug for CostShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CostShare").field(&self.amount()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Told = Arc<Mutex<Vec<i64>>>;

    fn claim(amount: i64, told: &Told) -> CostShare {
        let told = Arc::clone(told);
        CostShare::new(Usd::from_nanos(amount), move |lost| told.lock().unwrap().push(lost.nanos()))
    }

    #[test]
    fn is_counted_exactly_once() {
        let told = Told::default();
        let taken = claim(1, &told);
        let copy = taken.clone();
        assert_eq!(copy.take(), Some(Usd::from_nanos(1)));
        assert_eq!(taken.take(), None);
        assert_eq!(*told.lock().unwrap(), [0], "as soon as it is taken");
        drop((taken, copy));
        drop(claim(2, &told));
        assert_eq!(*told.lock().unwrap(), [0, 2]);
    }

    #[test]
    fn shares_are_taken_and_lost_each_on_its_own() {
        let told = Told::default();
        let whole = claim(10, &told);
        let copy = whole.clone();
        let mut shares = whole.split(&[1, 1, 1]).unwrap();
        assert_eq!(shares.iter().map(|share| share.amount().nanos()).collect::<Vec<_>>(), [3, 3, 4]);
        assert!(copy.take().is_none() && copy.split(&[1]).is_none(), "what is split is taken");
        drop((whole, copy));

        let last = shares.pop().unwrap();
        let both = CostShare::all(shares.clone());
        assert_eq!(shares[0].take(), Some(Usd::from_nanos(3)));
        assert_eq!((both.take(), both.take()), (Some(Usd::from_nanos(3)), None));
        drop((both, shares));
        assert!(told.lock().unwrap().is_empty(), "a share is open");
        drop(last);
        assert_eq!(*told.lock().unwrap(), [4]);
    }
}
