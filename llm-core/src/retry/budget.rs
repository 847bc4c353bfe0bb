use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bound on the number of retries in proportion to the number of calls. Clones share one budget, so several clients can
/// use it together.
///
/// Every call adds a fraction of a retry, and every retry takes a whole retry. The budget begins with a reserve, so
/// that a service with few calls can retry too. The budget never contains more than the reserve plus the retries that a
/// hundred calls add.
///
/// ```
/// use llm_core::layer::RetryBudget;
///
/// let budget = RetryBudget::new(20, 1);
/// // The first call fails, and is retried once.
/// budget.deposit();
/// budget.withdraw().expect("it begins with one retry").spend();
/// assert!(budget.withdraw().is_none());
/// assert_eq!(budget.remaining(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct RetryBudget(Arc<Bucket>);

#[derive(Debug)]
struct Bucket {
    /// Balance of the budget, in hundredths of a retry.
    left: AtomicU64,
    each: u64,
    most: u64,
}

const RETRY: u64 = 100;

impl RetryBudget {
    /// Creates a budget that begins with `reserve` retries and gains `percent` retries for each hundred calls.
    pub fn new(percent: u32, reserve: u32) -> Self {
        let (each, reserve) = (u64::from(percent), u64::from(reserve) * RETRY);
        Self(Arc::new(Bucket { left: AtomicU64::new(reserve), each, most: reserve + 100 * each }))
    }

    /// Returns the number of whole retries that are left.
    pub fn remaining(&self) -> u64 {
        self.0.left.load(Ordering::Relaxed) / RETRY
    }

    /// Adds a call's fraction of a retry. A layer calls this once for each call, not for each attempt.
    pub fn deposit(&self) {
        let Bucket { left, each, most } = &*self.0;
        // The closure always returns a value, so the update cannot fail.
        let _ = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some((left + each).min(*most)));
    }

    /// Takes a retry from the budget. Returns `None` if the budget has no whole retry left.
    pub fn withdraw(&self) -> Option<RetryToken> {
        let take = |left: u64| left.checked_sub(RETRY);
        let taken = self.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        taken.then(|| RetryToken(Some(self.clone())))
    }
}

/// Retry that was taken from a budget by [`RetryBudget::withdraw`]. Dropping the token before it is
/// [spent](Self::spend) returns the retry to the budget.
///
/// ```
/// use llm_core::layer::RetryBudget;
///
/// let budget = RetryBudget::new(0, 1);
/// // The call is dropped while it waits for its retry.
/// drop(budget.withdraw());
/// assert_eq!(budget.remaining(), 1);
/// ```
#[derive(Debug)]
#[must_use = "a retry that is dropped goes back to the budget"]
pub struct RetryToken(Option<RetryBudget>);

impl RetryToken {
    /// Spends the token, so that dropping it does not return the retry. A layer calls this when it sends the retry.
    pub fn spend(mut self) {
        self.0 = None;
    }
}

impl Drop for RetryToken {
    fn drop(&mut self) {
        if let Some(RetryBudget(bucket)) = self.0.take() {
            bucket.left.fetch_add(RETRY, Ordering::Relaxed);
        }
    }
}

impl Default for RetryBudget {
    /// Creates a budget that begins with ten retries and gains twenty for each hundred calls.
    fn default() -> Self {
        Self::new(20, 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend(budget: &RetryBudget) -> bool {
        budget.withdraw().map(RetryToken::spend).is_some()
    }

    #[test]
    fn retry_budget_grows_with_calls_within_bounds() {
        let budget = RetryBudget::new(20, 2);
        assert!(spend(&budget) && spend(&budget) && !spend(&budget));
        (0..4).for_each(|_| budget.deposit());
        assert!(budget.withdraw().is_none());
        budget.deposit();
        assert!(spend(&budget) && !spend(&budget));
        (0..1_000).for_each(|_| budget.deposit());
        assert_eq!(budget.remaining(), 22);
        assert!(RetryBudget::new(0, 0).withdraw().is_none());
    }

    #[test]
    fn retry_budget_refunds_dropped_retry() {
        let budget = RetryBudget::new(0, 1);
        drop(budget.withdraw());
        assert_eq!(budget.remaining(), 1);
        assert!(spend(&budget) && budget.remaining() == 0);
    }
}
