use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Usd;

/// Price of tokens, in nano-dollars per million tokens. In JSON it is a string of dollars per million tokens, such as
/// `"2.5"`.
///
/// ```
/// use llm_core::price::Rate;
///
/// let rate = Rate::per_million("2.5".parse()?)?;
/// assert_eq!(rate.nanos(), 2_500_000_000);
/// assert_eq!(rate.to_string(), "$2.50 per million tokens");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

/// Error of a price below zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a price cannot be negative")]
pub struct NegativePrice;

impl Rate {
    /// Creates a rate from nano-dollars per million tokens.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Creates a rate from dollars per million tokens.
    ///
    /// # Errors
    ///
    /// The price is negative.
    pub fn per_million(price: Usd) -> Result<Self, NegativePrice> {
        u64::try_from(price.nanos()).map(Self).map_err(|_| NegativePrice)
    }

    /// Returns the rate in nano-dollars per million tokens.
    pub const fn nanos(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per million tokens", Usd::from_nanos(i64::try_from(self.0).unwrap_or(i64::MAX)))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let amount = Usd::from_nanos(i64::try_from(self.0).map_err(serde::ser::Error::custom)?);
        serializer.serialize_str(amount.to_string().trim_start_matches('$'))
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amount: Usd = String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)?;
        Self::per_million(amount).map_err(serde::de::Error::custom)
    }
}
