use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Usage, Usd};

const TOKENS: u128 = 1_000_000;

/// Nano-dollars per million tokens. In JSON: a string of dollars per million tokens, such as `"2.5"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

/// What one model's tokens cost.
///
/// A vendor without a price of its own for cached tokens has `None` there: they then cost what plain input costs.
///
/// ```
/// use llm_core::{Price, Rate, Usage};
///
/// let price = Price {
///     input: Rate::per_million("2.5".parse()?)?,
///     cache_read: Some(Rate::per_million("1.25".parse()?)?),
///     output: Rate::per_million("10".parse()?)?,
///     ..Price::default()
/// };
/// let usage = Usage { input: 1_000, cache_read: 600, output: 10, ..Usage::default() };
/// // 400 × $2.50 + 600 × $1.25 + 10 × $10, each per million
/// assert_eq!(price.cost(&usage).to_string(), "$0.00185");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Input tokens.
    pub input: Rate,
    /// Input tokens read from the vendor's prompt cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<Rate>,
    /// Input tokens written to the vendor's prompt cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Rate>,
    /// Input tokens written to the vendor's prompt cache for a longer life time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_long: Option<Rate>,
    /// Output tokens, reasoning included.
    pub output: Rate,
}

impl Rate {
    /// A rate of nano-dollars per million tokens.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A rate of dollars per million tokens.
    ///
    /// # Errors
    ///
    /// A negative price.
    pub fn per_million(price: Usd) -> Result<Self, NegativePrice> {
        u64::try_from(price.nanos()).map(Self).map_err(|_| NegativePrice)
    }

    /// Nano-dollars per million tokens.
    pub const fn nanos(self) -> u64 {
        self.0
    }
}

/// A price below zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a price cannot be negative")]
pub struct NegativePrice;

impl Price {
    /// What `usage` costs: Σ tokens × rate ÷ 10⁶, computed exactly and rounded up to the next nano-dollar.
    pub fn cost(&self, usage: &Usage) -> Usd {
        let amount = |tokens: u64, rate: Option<Rate>| u128::from(tokens) * u128::from(rate.unwrap_or(self.input).0);
        let sum = [
            amount(usage.uncached_input(), None),
            amount(usage.cache_read, self.cache_read),
            amount(usage.cache_write, self.cache_write),
            amount(usage.cache_write_long, self.cache_write_long.or(self.cache_write)),
            amount(usage.output, Some(self.output)),
        ]
        .into_iter()
        .fold(0, u128::saturating_add);
        i64::try_from(sum.div_ceil(TOKENS)).map_or(Usd::MAX, Usd::from_nanos)
    }

    /// The most that `input` and `output` tokens can cost, whichever of the input prices apply.
    pub fn bound(&self, input: u64, output: u64) -> Usd {
        let dearest =
            [Some(self.input), self.cache_read, self.cache_write, self.cache_write_long].into_iter().flatten().max();
        Self { input: dearest.unwrap_or(self.input), output: self.output, ..Self::default() }
            .cost(&Usage::new(input, output))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(nanos: u64) -> Rate {
        Rate::from_nanos(nanos)
    }

    #[test]
    fn costs_round_up() {
        let price = Price { input: rate(1), ..Price::default() };
        assert_eq!(price.cost(&Usage::new(1, 0)).nanos(), 1);
        assert_eq!(price.cost(&Usage::new(1_000_001, 0)).nanos(), 2);
        assert_eq!(price.cost(&Usage::default()).nanos(), 0);
    }

    #[test]
    fn cached_tokens_are_part_of_the_input() {
        let price = Price { input: rate(1_000_000), cache_read: Some(rate(100_000)), ..Price::default() };
        let usage = Usage { input: 100, cache_read: 90, ..Usage::default() };
        assert_eq!(price.cost(&usage).nanos(), 10 + 9);
    }

    proptest! {
        #[test]
        fn more_tokens_never_cost_less(a in 0u64..1 << 40, b in 0u64..1 << 20, i in 0u64..1 << 45, o in 0u64..1 << 45) {
            let price = Price { input: rate(i), output: rate(o), ..Price::default() };
            prop_assert!(price.cost(&Usage::new(a + b, a)) >= price.cost(&Usage::new(a, a)));
            prop_assert!(price.cost(&Usage::new(a, a)) >= Usd::ZERO);
            let cached = Usage { cache_read: a / 2, ..Usage::new(a, b) };
            prop_assert!(price.bound(a, b) >= price.cost(&cached));
        }
    }
}
