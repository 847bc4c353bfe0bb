//! Quota: an amount of a unit over a time, as text and as numbers. `quota/parse.rs` parses the text.

mod parse;

use std::{fmt, time::Duration};

use llm_core::Usd;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Calendar, CalendarUnit, QuotaError, Unit, bucket::Rate};

/// Quota: an amount of a unit over a time.
///
/// Its text is close to spoken language:
///
/// | text | meaning |
/// |---|---|
/// | `10/minute`, `10 requests/minute` | a token bucket of 10 calls that fills up again within a minute |
/// | `100k input tokens/minute burst 20k` | a bucket of 20,000 tokens that gains 100,000 a minute |
/// | `500 tokens/10s` | a period of any number of `ms`, `s`, `min`, `h` |
/// | `20 concurrent` | calls at one time |
/// | `5 requests/month`, `5/month` | a calendar month, in UTC |
/// | `5 proposals/month` | the same, for a unit that is declared with
/// [`LimiterBuilder::unit`](crate::LimiterBuilder::unit) | | `$3/day in Europe/Berlin` | a calendar day in that time
/// zone | | `3 proposals/day burst 5` | a bucket of 5 that gains 3 a day, not a calendar day |
///
/// Words are compared without case and without a plural's `s`, and printed in full: `req` and `call` for requests, `tok`
/// for tokens, `usd` and `dollars` for `$`; `rpm`, `tpm`, `itpm` and `otpm` for requests, tokens, input and output tokens
/// each minute. Any other word is a unit of the application: it is printed as it was written, and a limiter refuses it
/// unless it is declared.
///
/// A calendar window admits its whole amount at once, and nothing more until it ends. A bucket admits its burst at once
/// and its rate from then on, which is burst + rate within the first period. To stay within a vendor's own limit, set
/// the burst to a fraction of it.
///
/// ```
/// use llm_ratelimit::{Unit, Quota};
///
/// let quota: Quota = "$3/day in Europe/Berlin".parse()?;
/// assert_eq!((quota.amount(), quota.unit()), (3_000_000_000, &Unit::Money));
/// assert_eq!(quota.to_string(), "$3.00/day in Europe/Berlin");
/// # Ok::<_, llm_ratelimit::QuotaError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    amount: u64,
    unit: Unit,
    span: Span,
}

/// Time over which a quota counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Span {
    /// Bucket: the amount drains in `period` nanoseconds, and the bucket holds at most `burst`.
    Bucket { period: u64, burst: u64 },
    /// A calendar window.
    Calendar(Calendar),
    /// Number of concurrent calls.
    Concurrent,
}

/// Longest period of a bucket.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

impl Quota {
    /// Creates a token bucket that refills by `amount` in each `period`, and holds at most `amount`.
    ///
    /// # Errors
    ///
    /// The amount is zero, or the period is zero or longer than a year.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_ratelimit::{Quota, Unit};
    ///
    /// assert_eq!(Quota::bucket(10, Unit::Requests, Duration::from_secs(60))?, "10/minute".parse()?);
    /// # Ok::<_, llm_ratelimit::QuotaError>(())
    /// ```
    pub fn bucket(amount: u64, unit: Unit, period: Duration) -> Result<Self, QuotaError> {
        if period.is_zero() || period > LONGEST {
            return Err(QuotaError::Period);
        }
        let period = u64::try_from(period.as_nanos()).map_err(|_| QuotaError::Period)?;
        Self::new(amount, unit, Span::Bucket { period, burst: amount })
    }

    /// Creates a quota of an amount in each calendar window.
    ///
    /// # Errors
    ///
    /// The amount is zero.
    ///
    /// ```
    /// use llm_ratelimit::{Calendar, CalendarUnit, Quota, Unit};
    ///
    /// let month = Calendar::utc(CalendarUnit::Month);
    /// assert_eq!(Quota::calendar(5, Unit::units("proposal"), month)?, "5 proposals/month".parse()?);
    /// # Ok::<_, llm_ratelimit::QuotaError>(())
    /// ```
    pub fn calendar(amount: u64, unit: Unit, calendar: Calendar) -> Result<Self, QuotaError> {
        Self::new(amount, unit, Span::Calendar(calendar))
    }

    /// Creates a quota of concurrent calls.
    ///
    /// # Errors
    ///
    /// `calls` is zero.
    ///
    /// ```
    /// use llm_ratelimit::Quota;
    ///
    /// assert_eq!(Quota::concurrent(20)?, "20 concurrent".parse()?);
    /// # Ok::<_, llm_ratelimit::QuotaError>(())
    /// ```
    pub fn concurrent(calls: u64) -> Result<Self, QuotaError> {
        Self::new(calls, Unit::Requests, Span::Concurrent)
    }

    /// Creates a quota of money in each calendar window.
    ///
    /// # Errors
    ///
    /// The amount is zero or negative.
    ///
    /// ```
    /// use llm_ratelimit::{Calendar, CalendarUnit, Quota};
    ///
    /// let day = Calendar::utc(CalendarUnit::Day).in_zone("Europe/Berlin")?;
    /// assert_eq!(Quota::budget("$3".parse()?, day)?, "$3/day in Europe/Berlin".parse()?);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn budget(amount: Usd, calendar: Calendar) -> Result<Self, QuotaError> {
        Self::calendar(u64::try_from(amount.nanos()).map_err(|_| QuotaError::Negative)?, Unit::Money, calendar)
    }

    /// Sets the amount that a bucket holds; one period's amount by default.
    ///
    /// # Errors
    ///
    /// The burst is zero, or the quota is not a bucket.
    ///
    /// ```
    /// use llm_ratelimit::Quota;
    ///
    /// let quota: Quota = "100k input tokens/minute".parse()?;
    /// assert_eq!(quota.with_burst(20_000)?, "100k input tokens/minute burst 20k".parse()?);
    /// # Ok::<_, llm_ratelimit::QuotaError>(())
    /// ```
    pub fn with_burst(mut self, most: u64) -> Result<Self, QuotaError> {
        match &mut self.span {
            _ if most == 0 => Err(QuotaError::Zero),
            Span::Bucket { burst, .. } => {
                *burst = most;
                Ok(self)
            }
            Span::Calendar(_) | Span::Concurrent => Err(QuotaError::Burst),
        }
    }

    /// Returns the amount in tokens, nano-dollars, calls or units.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// Returns the unit that the quota counts.
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    /// Returns the calendar; `None` if the quota does not count in calendar windows.
    pub fn windows(&self) -> Option<&Calendar> {
        match &self.span {
            Span::Calendar(calendar) => Some(calendar),
            Span::Bucket { .. } | Span::Concurrent => None,
        }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Returns the largest amount that one call can take.
    pub(crate) fn most(&self) -> u64 {
        match self.span {
            Span::Bucket { burst, .. } => burst,
            Span::Calendar(_) | Span::Concurrent => self.amount,
        }
    }

    /// Returns the rate and capacity of a bucket if all limits are scaled by `per_mille` thousandths.
    pub(crate) fn rate(&self, period: u64, burst: u64, per_mille: u32) -> Rate {
        Rate { amount: scaled(self.amount, per_mille), period, burst: scaled(burst, per_mille) }
    }

    /// Returns the nanoseconds in which a bucket drains `n`; `None` if the quota is not a bucket.
    pub(crate) fn nanos_for(&self, n: u64) -> Option<u64> {
        let Span::Bucket { period, .. } = self.span else { return None };
        Some(u64::try_from(u128::from(n) * u128::from(period) / u128::from(self.amount)).unwrap_or(u64::MAX))
    }

    fn new(amount: u64, unit: Unit, span: Span) -> Result<Self, QuotaError> {
        if amount == 0 {
            return Err(QuotaError::Zero);
        }
        Ok(Self { amount, unit, span })
    }
}

/// Scales an amount by thousandths. The result is at least 1.
pub(crate) fn scaled(amount: u64, per_mille: u32) -> u64 {
    match per_mille {
        1_000 => amount,
        _ => u64::try_from((u128::from(amount) * u128::from(per_mille) / 1_000).max(1)).unwrap_or(u64::MAX),
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |f: &mut fmt::Formatter<'_>, n: u64| match self.unit {
            Unit::Money => write!(f, "{}", Usd::from_nanos(i64::try_from(n).unwrap_or(i64::MAX))),
            _ => write!(f, "{n}"),
        };
        amount(f, self.amount)?;
        if let Span::Concurrent = self.span {
            return f.write_str(" concurrent");
        }
        match &self.unit {
            Unit::Money => {}
            other => write!(f, " {other}")?,
        }
        match &self.span {
            Span::Calendar(calendar) => write!(f, "/{calendar}"),
            Span::Bucket { period, burst } => {
                write!(f, "/{}", parse::Period(*period))?;
                if *burst != self.amount || CalendarUnit::is_period(*period) {
                    f.write_str(" burst ")?;
                    amount(f, *burst)?;
                }
                Ok(())
            }
            Span::Concurrent => Ok(()),
        }
    }
}

impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
