use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign},
};

use crate::{Usd, price::UnknownCost};

/// Amount of money, a part of which may be unknown, with the cause.
///
/// An unknown amount is never displayed as $0.00.
///
/// ```
/// use llm_core::{Amount, Usd, price::UnknownCost};
///
/// let known = Amount::from("$0.25".parse::<Usd>()?);
/// assert_eq!((known.exact(), known.to_string().as_str()), (Some(known.at_least()), "$0.25"));
/// let unknown = Amount::unknown(UnknownCost::NoUsage);
/// assert_eq!((unknown.exact(), unknown.at_least()), (None, Usd::ZERO));
/// assert_eq!(unknown.to_string(), "unknown (the vendor did not state what the response used)");
/// assert!((known + unknown).to_string().starts_with("at least $0.25 (the vendor"));
/// # Ok::<_, llm_core::price::ParseUsdError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    known: Usd,
    unknown: Option<UnknownCost>,
}

impl Amount {
    /// Exactly zero, without an unknown part.
    pub const ZERO: Self = Self { known: Usd::ZERO, unknown: None };

    /// Creates an unknown amount.
    pub fn unknown(cause: UnknownCost) -> Self {
        Self { known: Usd::ZERO, unknown: Some(cause) }
    }

    /// Returns the amount if it is known completely; `None` if a part of it is unknown.
    pub fn exact(&self) -> Option<Usd> {
        self.unknown.is_none().then_some(self.known)
    }

    /// Returns the known part of the amount, which is a lower bound.
    pub fn at_least(&self) -> Usd {
        self.known
    }

    /// Returns the reason why a part of the amount is unknown; the first reason if there are several.
    pub fn cause(&self) -> Option<&UnknownCost> {
        self.unknown.as_ref()
    }

    /// Replaces the known part of the amount.
    pub fn with_known(self, known: Usd) -> Self {
        Self { known, ..self }
    }

    /// Splits the amount in proportion to `weights`, as [`Usd::split`] does. If the amount has an unknown part, so has
    /// each share.
    pub fn split(&self, weights: &[u64]) -> Vec<Self> {
        let share = |known| Self { known, unknown: self.unknown.clone() };
        self.known.split(weights).into_iter().map(share).collect()
    }
}

impl From<Usd> for Amount {
    fn from(known: Usd) -> Self {
        Self { known, unknown: None }
    }
}

impl Add for Amount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { known: self.known + other.known, unknown: self.unknown.or(other.unknown) }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = std::mem::take(self) + other;
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Amount {
    /// Writes the amount as [`Usd`] does. If a part is unknown, writes `unknown` or `at least` with the cause.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unknown {
            None => self.known.fmt(f),
            Some(cause) if self.known.is_zero() => write!(f, "unknown ({cause})"),
            Some(cause) => {
                f.write_str("at least ")?;
                self.known.fmt(f)?;
                write!(f, " ({cause})")
            }
        }
    }
}
