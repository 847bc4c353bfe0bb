use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Usd;

/// Reason why a response, or a part of its list price, did not have to be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// A cache hit saved the cost of the stored response.
    CacheHit,
    /// A shared call saved the cost of the response, because an equal call was already running.
    Coalesced,
    /// A packed request, which produced several responses, saved the difference between the estimated price of this
    /// response requested alone and its share.
    Packed,
    /// The service class saved the difference to the standard class. The amount is negative for a dearer class.
    Tier,
}

/// Amounts that did not have to be paid, by cause. An amount is negative if the cause made the response dearer.
///
/// ```
/// use llm_core::{Cause, Savings, Usd};
///
/// let mut savings = Savings::default();
/// savings.add(Cause::CacheHit, Usd::from_nanos(5));
/// savings.add(Cause::Tier, Usd::from_nanos(-2));
/// assert_eq!((savings.of(Cause::CacheHit), savings.total()), (Usd::from_nanos(5), Usd::from_nanos(3)));
/// assert_eq!(savings.of_response().total(), Usd::from_nanos(-2));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Savings([Usd; Cause::ALL.len()]);

impl Cause {
    /// All causes of savings.
    pub const ALL: [Self; 4] = [Self::CacheHit, Self::Coalesced, Self::Packed, Self::Tier];

    /// Returns the cause in one lower-case word, for tables and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::CacheHit => "cache_hit",
            Self::Coalesced => "coalesced",
            Self::Packed => "packed",
            Self::Tier => "tier",
        }
    }

    /// Returns `true` if the saving belongs to the response, so that every call that gets the response has it; `false`
    /// if it belongs to one call.
    pub fn is_of_response(self) -> bool {
        match self {
            Self::CacheHit | Self::Coalesced => false,
            Self::Packed | Self::Tier => true,
        }
    }
}

impl Savings {
    /// Adds an amount to the amount of a cause.
    pub fn add(&mut self, cause: Cause, amount: Usd) {
        self.0[cause as usize] += amount;
    }

    /// Replaces the amount of one cause.
    pub fn set(&mut self, cause: Cause, amount: Usd) {
        self.0[cause as usize] = amount;
    }

    /// Returns the amount of one cause.
    pub fn of(&self, cause: Cause) -> Usd {
        self.0[cause as usize]
    }

    /// Returns the savings that belong to the response, without the savings of the call that got the response.
    pub fn of_response(&self) -> Self {
        self.iter().filter(|(cause, _)| cause.is_of_response()).collect()
    }

    /// Returns the causes whose amount is not zero, with their amounts.
    pub fn iter(&self) -> impl Iterator<Item = (Cause, Usd)> + '_ {
        Cause::ALL.into_iter().map(|cause| (cause, self.of(cause))).filter(|(_, amount)| !amount.is_zero())
    }

    /// Returns the sum of all amounts.
    pub fn total(&self) -> Usd {
        self.0.iter().copied().sum()
    }
}

impl FromIterator<(Cause, Usd)> for Savings {
    fn from_iter<I: IntoIterator<Item = (Cause, Usd)>>(amounts: I) -> Self {
        amounts.into_iter().fold(Self::default(), |mut savings, (cause, amount)| {
            savings.add(cause, amount);
            savings
        })
    }
}

impl fmt::Debug for Savings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Serialized form of [`Savings`]: the amounts that belong to the response, by the names of the causes.
pub(super) mod of_response {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Cause, Savings};
    use crate::Usd;

    pub(crate) fn is_none(savings: &Savings) -> bool {
        savings.of_response() == Savings::default()
    }

    pub(crate) fn serialize<S: Serializer>(savings: &Savings, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(savings.of_response().iter())
    }

    /// Reads the amounts. An unknown cause is an error, because the amounts of the known causes alone would not add up
    /// to the list price.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Savings, D::Error> {
        let amounts = BTreeMap::<Cause, Usd>::deserialize(deserializer)?;
        Ok(amounts.into_iter().collect::<Savings>().of_response())
    }
}
