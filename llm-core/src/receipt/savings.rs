use std::fmt;

use crate::Usd;

/// Why an answer, or a part of it, did not have to be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Cause {
    /// It was stored.
    CacheHit,
    /// An equal question was being asked already.
    Coalesced,
}

/// Amounts that did not have to be paid, by cause.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Savings([Usd; Cause::ALL.len()]);

impl Cause {
    /// All causes.
    pub const ALL: [Self; 2] = [Self::CacheHit, Self::Coalesced];

    /// The cause in one word, for tables and metrics.
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

    /// The amount of one cause.
    pub fn of(&self, cause: Cause) -> Usd {
        self.0[cause as usize]
    }

    /// The causes that saved something, with their amounts.
    pub fn iter(&self) -> impl Iterator<Item = (Cause, Usd)> + '_ {
        Cause::ALL.into_iter().map(|cause| (cause, self.of(cause))).filter(|(_, amount)| !amount.is_zero())
    }

    /// All amounts together.
    pub fn total(&self) -> Usd {
        self.0.iter().copied().sum()
    }
}

impl fmt::Debug for Savings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
