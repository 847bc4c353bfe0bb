use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// How many retries there may be beside calls. Clones share it, so several clients can have one.
///
/// Every call adds a share of a retry, every retry takes a whole one. It begins with a few, so that a service with few
/// calls can retry at all, and never holds more than these and what a hundred calls add.
#[derive(Clone, Debug)]
pub struct RetryBudget(Arc<Bucket>);

#[derive(Debug)]
struct Bucket {
    /// In hundredths of a retry.
    left: AtomicU64,
    each: u64,
    most: u64,
}

const RETRY: u64 = 100;

impl RetryBudget {
    /// A budget of `percent` retries for a hundred calls, that begins with `reserve` retries.
    pub fn new(percent: u32, reserve: u32) -> Self {
        let (each, reserve) = (u64::from(percent), u64::from(reserve) * RETRY);
        Self(Arc::new(Bucket { left: AtomicU64::new(reserve), each, most: reserve + 100 * each }))
    }

    /// How many retries there are left.
    pub fn left(&self) -> u64 {
        self.0.left.load(Ordering::Relaxed) / RETRY
    }

    /// A call was made.
    pub(super) fn earn(&self) {
        let Bucket { left, each, most } = &*self.0;
        // The closure always gives a value.
        let _ = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some((left + each).min(*most)));
    }

    /// Takes a retry, if there is one.
    pub(super) fn take(&self) -> bool {
        let take = |left: u64| left.checked_sub(RETRY);
        self.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

impl Default for RetryBudget {
    /// Twenty retries for a hundred calls, and ten to begin with.
    fn default() -> Self {
        Self::new(20, 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_what_calls_earn_within_its_bounds() {
        let budget = RetryBudget::new(20, 2);
        assert!(budget.take() && budget.take() && !budget.take());
        (0..4).for_each(|_| budget.earn());
        assert!(!budget.take());
        budget.earn();
        assert!(budget.take() && !budget.take());
        (0..1_000).for_each(|_| budget.earn());
        assert_eq!(budget.left(), 22);
        assert!(!RetryBudget::new(0, 0).take());
    }
}
