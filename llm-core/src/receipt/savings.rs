use std::fmt;

use crate::Usd;

/// Cause of a saving: a response, or a part of it, that did not have to be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Cause {
    /// A cache hit.
    CacheHit,
    /// A shared call: an equal one was running already.
    Coalesced,
}

/// Amounts that did not have to be paid, by cause.
///
/// ```
/// use llm_core::{Cause, Savings, Usd};
///
/// let mut savings = Savings::default();
/// savings.add(Cause::CacheHit, Usd::from_nanos(5));
/// savings.add(Cause::Coalesced, Usd::from_nanos(2));
/// assert_eq!((savings.of(Cause::CacheHit), savings.total()), (Usd::from_nanos(5), Usd::from_nanos(7)));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Savings([Usd; Cause::ALL.len()]);

impl Cause {
    /// All causes.
    pub const ALL: [Self; 2] = [Self::CacheHit, Self::Coalesced];

    /// Returns the cause in one word, for tables and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::CacheHit => "cache_hit",
            Self::Coalesced => "coalesced",
        }
    }
}

impl Savings {
    /// Adds an amount.
    pub fn add(&mut self, cause: Cause, amount: Usd) {
        self.0[cause as usize] += amount;
    }

    /// Returns the amount of one cause.
    pub fn of(&self, cause: Cause) -> Usd {
        self.0[cause as usize]
    }

    /// Returns the causes that saved something, with their amounts.
    pub fn iter(&self) -> impl Iterator<Item = (Cause, Usd)> + '_ {
        Cause::ALL.into_iter().map(|cause| (cause, self.of(cause))).filter(|(_, amount)| !amount.is_zero())
    }

    /// Returns the sum of all amounts.
    pub fn total(&self) -> Usd {
        self.0.iter().copied().sum()
    }
}

impl fmt::Debug for Savings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
