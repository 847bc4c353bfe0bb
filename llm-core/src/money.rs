use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Neg, Sub, SubAssign},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

const NANOS_PER_DOLLAR: i64 = 1_000_000_000;

/// An amount of US dollars, in whole nano-dollars (10⁻⁹ $), signed.
///
/// The amount is an integer, so sums are exact, and shares add up to the amount that was split. Arithmetic saturates at
/// ±9.2 billion dollars.
///
/// ```
/// use llm_core::Usd;
///
/// let cost: Usd = "$0.0125".parse()?;
/// assert_eq!(cost.nanos(), 12_500_000);
/// assert_eq!(format!("{cost}"), "$0.0125");
/// assert_eq!(format!("{cost:.2}"), "$0.01");
/// # Ok::<_, llm_core::price::ParseUsdError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usd(i64);

/// Error of a text that is not an amount of dollars with at most nine decimals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an amount in dollars: write it like 2.50 or $2.50, with at most nine decimals")]
pub struct ParseUsdError(String);

impl Usd {
    /// Zero.
    pub const ZERO: Self = Self(0);
    /// The largest amount, about 9.2 billion dollars.
    pub const MAX: Self = Self(i64::MAX);

    /// Creates an amount from nano-dollars (10⁻⁹ $).
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Returns the amount in nano-dollars.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Returns `true` if this is exactly zero.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Splits this amount in proportion to `weights`, so that the shares add up to it exactly: each share is rounded
    /// toward zero, and the last share gets the remainder. If all weights are zero, the shares are equal. Without
    /// weights the result is empty.
    ///
    /// ```
    /// use llm_core::Usd;
    ///
    /// let shares = Usd::from_nanos(10).split(&[1, 2]);
    /// assert_eq!(shares, [Usd::from_nanos(3), Usd::from_nanos(7)]);
    /// ```
    pub fn split(self, weights: &[u64]) -> Vec<Self> {
        let total: u128 = weights.iter().map(|w| u128::from(*w)).sum();
        let mut shares: Vec<Self> = weights
            .iter()
            .map(|weight| {
                let (part, whole) = match total {
                    0 => (1, weights.len() as u128),
                    _ => (u128::from(*weight), total),
                };
                Self(proportion(self.0, part, whole))
            })
            .collect();
        let given: i64 = shares.iter().map(|s| s.0).sum();
        if let Some(last) = shares.last_mut() {
            last.0 += self.0 - given;
        }
        shares
    }
}

/// Returns `amount × part ÷ whole`, rounded toward zero.
fn proportion(amount: i64, part: u128, whole: u128) -> i64 {
    // NOTE: weights are token counts; 2^63 nano-dollars times 2^64 tokens still fit into 128 bits.
    let share = u128::from(amount.unsigned_abs()) * part / whole;
    let share = i64::try_from(share).unwrap_or(i64::MAX);
    if amount < 0 { -share } else { share }
}

impl fmt::Display for Usd {
    /// Writes all significant decimals, at least two. If the format has a precision, it writes that many decimals,
    /// rounded half away from zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nanos = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let precision = f.precision().map(|p| p.min(9));
        if let Some(p) = precision {
            let step = 10u64.pow(9 - p as u32);
            nanos = (nanos + step / 2) / step * step;
        }
        let decimals = format!("{:09}", nanos % NANOS_PER_DOLLAR as u64);
        let shown = match precision {
            Some(p) => p,
            None => decimals.trim_end_matches('0').len().max(2),
        };
        let dollars = nanos / NANOS_PER_DOLLAR as u64;
        let text = match shown {
            0 => format!("{sign}${dollars}"),
            _ => format!("{sign}${dollars}.{}", &decimals[..shown]),
        };
        match f.width() {
            Some(width) => write!(f, "{text:>width$}"),
            None => f.write_str(&text),
        }
    }
}

impl FromStr for Usd {
    type Err = ParseUsdError;

    fn from_str(text: &str) -> Result<Self, ParseUsdError> {
        let error = || ParseUsdError(text.chars().take(64).collect());
        let (sign, rest) = match text.trim().strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.trim()),
        };
        let rest = rest.strip_prefix('$').unwrap_or(rest);
        let (whole, decimals) = rest.split_once('.').unwrap_or((rest, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || decimals.len() > 9 || !digits(whole) || !digits(decimals) {
            return Err(error());
        }
        let dollars: i64 = whole.parse().map_err(|_| error())?;
        let nanos: i64 = format!("{decimals:0<9}").parse().map_err(|_| error())?;
        let amount = dollars.checked_mul(NANOS_PER_DOLLAR).and_then(|d| d.checked_add(nanos)).ok_or_else(error)?;
        Ok(Self(sign * amount))
    }
}

impl Add for Usd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Usd {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl SubAssign for Usd {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Neg for Usd {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usd_text_is_read_as_written() {
        for (text, nanos, shown) in [
            ("0", 0, "$0.00"),
            ("$1", 1_000_000_000, "$1.00"),
            ("2.5", 2_500_000_000, "$2.50"),
            ("-$0.000000001", -1, "-$0.000000001"),
            ("0.0125", 12_500_000, "$0.0125"),
        ] {
            let amount: Usd = text.parse().unwrap();
            assert_eq!((amount.nanos(), amount.to_string().as_str()), (nanos, shown));
        }
        for bad in ["", "$", ".5", "1.0000000001", "1e3", "NaN", "99999999999", "1,5", "--1"] {
            assert!(bad.parse::<Usd>().is_err(), "{bad}");
        }
    }

    #[test]
    fn usd_precision_rounds_half_away_from_zero() {
        assert_eq!(format!("{:.2}", Usd::from_nanos(1_005_000_000)), "$1.01");
        assert_eq!(format!("{:.4}", Usd::from_nanos(-49_999)), "-$0.0000");
        assert_eq!(format!("{:>8.2}", Usd::from_nanos(1)), "   $0.00");
    }

    proptest! {
        #[test]
        fn usd_shares_add_up(amount in any::<i64>(), weights in prop::collection::vec(0u64..1_000_000, 1..20)) {
            let amount = Usd::from_nanos(amount);
            prop_assert_eq!(amount.split(&weights).into_iter().map(|s| i128::from(s.nanos())).sum::<i128>(), i128::from(amount.nanos()));
        }
    }
}
