use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::Usd;

/// Amount paid for an attempt, or a share of it, which exactly one response may take.
///
/// The layer that pays a vendor puts a share of the attempt's cost on the receipt. One attempt of a coalesced call has
/// many responses. The first response that takes the share makes it useful spend. A share that no response takes is
/// wasted. When all shares are taken or dropped, the paying layer gets the wasted amount. So every attempt is counted
/// once, even if callers are cancelled. The cost of an attempt with several items is [split](Self::split) among them.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use llm_core::{Usd, layer::CostShare};
///
/// let wasted = Arc::new(Mutex::new(None));
/// let seen = Arc::clone(&wasted);
/// let share = CostShare::new(Usd::from_nanos(30), move |lost| *seen.lock().unwrap() = Some(lost));
/// let [one, other] = share.split(&[1, 2]).expect("it is not taken").try_into().expect("two weights");
/// assert_eq!(one.take(), Some(Usd::from_nanos(10)));
/// assert_eq!(one.clone().take(), None);
/// drop(other);
/// assert_eq!(*wasted.lock().unwrap(), Some(Usd::from_nanos(20)));
/// ```
#[derive(Clone)]
pub struct CostShare(Form);

#[derive(Clone)]
enum Form {
    Share(Arc<Share>),
    All(Arc<[CostShare]>),
    Each(Arc<Each>),
}

/// Shares of a merged call's members, until they are given to the members.
struct Each(Mutex<Vec<CostShare>>);

struct Share {
    amount: Usd,
    taken: AtomicBool,
    attempt: Arc<Attempt>,
}

struct Attempt(Mutex<Open>);

/// State that an attempt has until all of its shares are taken or dropped.
struct Open {
    shares: usize,
    lost: Usd,
    settle: Option<Settle>,
}

type Settle = Box<dyn FnOnce(Usd) + Send>;

impl CostShare {
    /// Creates a share of the whole `amount`. `settle` is called once with the wasted part of it, when every share is
    /// taken, or dropped with its last clone.
    pub fn new(amount: Usd, settle: impl FnOnce(Usd) + Send + 'static) -> Self {
        let open = Open { shares: 1, lost: Usd::ZERO, settle: Some(Box::new(settle)) };
        Self::share(amount, &Arc::new(Attempt(Mutex::new(open))))
    }

    /// Combines several shares into one share. Taking the combined share takes all of them.
    pub fn all(shares: Vec<Self>) -> Self {
        Self(Form::All(shares.into()))
    }

    /// Combines the shares of a merged call's members. [`split`](Self::split) with one weight for each member gives
    /// each member its own share.
    pub fn each(shares: Vec<Self>) -> Self {
        Self(Form::Each(Arc::new(Each(Mutex::new(shares)))))
    }

    /// Takes the amount of the share. For a combined share this is the sum of the shares that are not taken yet.
    /// Returns `None` if other responses have taken all of it.
    pub fn take(&self) -> Option<Usd> {
        match &self.0 {
            Form::Share(share) => share.take().then(|| {
                share.attempt.settle(Usd::ZERO);
                share.amount
            }),
            Form::All(shares) => shares.iter().filter_map(Self::take).reduce(|a, b| a + b),
            Form::Each(each) => each.take().iter().filter_map(Self::take).reduce(|a, b| a + b),
        }
    }

    /// Splits the share among several items in proportion to `weights`. The parts add up exactly. If this is a combined
    /// share, each of its shares is split. This share and its clones then count as taken. Returns `None` if other
    /// responses have taken the share, or if there are no weights.
    pub fn split(&self, weights: &[u64]) -> Option<Vec<Self>> {
        if weights.is_empty() {
            return None;
        }
        match &self.0 {
            Form::Share(share) => {
                if !share.take() {
                    return None;
                }
                share.attempt.open().shares += weights.len() - 1;
                Some(share.amount.split(weights).into_iter().map(|part| Self::share(part, &share.attempt)).collect())
            }
            Form::All(shares) => split_all(shares, weights),
            Form::Each(each) => {
                let shares = each.take();
                if shares.len() == weights.len() { Some(shares) } else { split_all(&shares, weights) }
            }
        }
    }

    /// Returns the amount of the share, even if it has been taken.
    pub fn amount(&self) -> Usd {
        match &self.0 {
            Form::Share(share) => share.amount,
            Form::All(shares) => shares.iter().map(Self::amount).sum(),
            Form::Each(each) => each.open().iter().map(Self::amount).sum(),
        }
    }

    fn share(amount: Usd, attempt: &Arc<Attempt>) -> Self {
        let attempt = Arc::clone(attempt);
        Self(Form::Share(Arc::new(Share { amount, taken: AtomicBool::new(false), attempt })))
    }
}

/// Splits each of several shares, and combines the parts that belong to the same item.
fn split_all(shares: &[CostShare], weights: &[u64]) -> Option<Vec<CostShare>> {
    let mut items = vec![Vec::new(); weights.len()];
    for parts in shares.iter().filter_map(|share| share.split(weights)) {
        items.iter_mut().zip(parts).for_each(|(item, part)| item.push(part));
    }
    let is_taken = items.iter().all(Vec::is_empty);
    (!is_taken).then(|| items.into_iter().map(CostShare::all).collect())
}

impl Each {
    fn take(&self) -> Vec<CostShare> {
        std::mem::take(&mut *self.open())
    }

    fn open(&self) -> MutexGuard<'_, Vec<CostShare>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    fn take(&self) -> bool {
        !self.taken.swap(true, Ordering::AcqRel)
    }
}

impl Attempt {
    /// Records that one more share is taken, with `lost` as zero, or dropped, with its amount as `lost`.
    fn settle(&self, lost: Usd) {
        let settled = {
            let mut open = self.open();
            open.shares -= 1;
            open.lost += lost;
            if open.shares > 0 {
                return;
            }
            open.settle.take().map(|settle| (settle, open.lost))
        };
        // The settlement runs outside of the lock, because it may lock this state.
        if let Some((settle, lost)) = settled {
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
            self.attempt.settle(self.amount);
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

    type Settled = Arc<Mutex<Vec<i64>>>;

    fn share(amount: i64, settled: &Settled) -> CostShare {
        let settled = Arc::clone(settled);
        CostShare::new(Usd::from_nanos(amount), move |lost| settled.lock().unwrap().push(lost.nanos()))
    }

    #[test]
    fn cost_share_is_counted_exactly_once() {
        let settled = Settled::default();
        let taken = share(1, &settled);
        let copy = taken.clone();
        assert_eq!(copy.take(), Some(Usd::from_nanos(1)));
        assert_eq!(taken.take(), None);
        assert_eq!(*settled.lock().unwrap(), [0], "as soon as it is taken");
        drop((taken, copy));
        drop(share(2, &settled));
        assert_eq!(*settled.lock().unwrap(), [0, 2]);
    }

    #[test]
    fn cost_share_divides_among_members() {
        let settled = [Settled::default(), Settled::default()];
        let nanos = |share: &CostShare| share.amount().nanos();
        let whole = || CostShare::each(vec![share(3, &settled[0]), share(7, &settled[1])]);
        let shares = whole().split(&[1, 1]).unwrap();
        assert_eq!((nanos(&shares[0]), nanos(&shares[1])), (3, 7));
        assert_eq!(shares[0].take(), Some(Usd::from_nanos(3)));
        drop(shares);
        assert_eq!(whole().take(), Some(Usd::from_nanos(10)));
        let taken = whole();
        let copy = taken.clone();
        assert_eq!(taken.amount(), Usd::from_nanos(10));
        drop((taken.split(&[1, 2, 3]).unwrap(), taken));
        assert!(copy.take().is_none() && copy.split(&[1, 1]).is_none());
        assert_eq!((&*settled[0].lock().unwrap(), &*settled[1].lock().unwrap()), (&vec![0, 0, 3], &vec![7, 0, 7]));
    }

    #[test]
    fn cost_share_combined_is_split_among_items() {
        let settled = Settled::default();
        let shares = CostShare::all(vec![share(3, &settled), share(8, &settled)]).split(&[1, 1]).unwrap();
        assert_eq!(shares.iter().map(|share| share.amount().nanos()).collect::<Vec<_>>(), [1 + 4, 2 + 4]);
        assert_eq!(shares[1].take(), Some(Usd::from_nanos(6)));
        drop(shares);
        assert_eq!(*settled.lock().unwrap(), [1, 4], "each attempt learns its own wasted part");
    }

    #[test]
    fn cost_share_parts_are_independent() {
        let settled = Settled::default();
        let whole = share(10, &settled);
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
        assert!(settled.lock().unwrap().is_empty(), "a share is open");
        drop(last);
        assert_eq!(*settled.lock().unwrap(), [4]);
    }
}
