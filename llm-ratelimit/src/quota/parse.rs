//! Parsing and printing of quotas.

use std::{fmt, str::FromStr};

use llm_core::Usd;

use super::{Quota, Span};
use crate::{Calendar, CalendarUnit, QuotaError, Unit};

const NANOS: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * NANOS;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Names of periods, with their lengths. Of several names of the same period, the first is printed.
const PERIODS: [(&str, u64); 9] = [
    ("second", NANOS),
    ("minute", MINUTE),
    ("hour", HOUR),
    ("day", DAY),
    ("week", 7 * DAY),
    ("s", NANOS),
    ("min", MINUTE),
    ("h", HOUR),
    ("ms", NANOS / 1_000),
];

impl FromStr for Quota {
    type Err = QuotaError;

    fn from_str(text: &str) -> Result<Self, QuotaError> {
        let shown = || text.chars().take(64).collect::<String>();
        let lower = text.trim().to_ascii_lowercase();
        if let Some(calls) = lower.strip_suffix("concurrent") {
            return Self::concurrent(number(calls.trim())?);
        }
        let (what, time) = text.split_once('/').unwrap_or((text, ""));
        let (n, unit, implied) = amount(what.trim());
        let mut words = time.split_whitespace();
        let written = words.next().map(str::to_ascii_lowercase);
        if let (Some(written), Some(implied)) = (&written, implied)
            && duration(written)? != duration(implied)?
        {
            return Err(QuotaError::Rate { text: shown(), period: implied });
        }
        let period = written.as_deref().or(implied).ok_or_else(|| QuotaError::Form(shown()))?;
        let amount = quantity(n, &unit)?;
        let (mut burst, mut zone) = (None, None);
        while let Some(word) = words.next() {
            let slot = match &*word.to_ascii_lowercase() {
                "burst" => &mut burst,
                "in" => &mut zone,
                _ => return Err(QuotaError::Form(shown())),
            };
            if slot.replace(words.next().ok_or_else(|| QuotaError::Odd(shown()))?).is_some() {
                return Err(QuotaError::Odd(shown()));
            }
        }
        let burst = burst.map(|text| quantity(text, &unit)).transpose()?;
        match (CalendarUnit::named(period), burst, zone) {
            (Some(_), Some(_), Some(_)) => Err(QuotaError::Zoned),
            (Some(window), None, zone) => {
                let calendar = Calendar::utc(window);
                Self::calendar(amount, unit, zone.map_or(Ok(calendar.clone()), |zone| calendar.in_zone(zone))?)
            }
            (_, _, Some(_)) => Err(QuotaError::Zoned),
            (Some(CalendarUnit::Month), Some(_), None) => Err(QuotaError::Burst),
            (_, burst, None) => {
                let quota = Self::bucket(amount, unit, std::time::Duration::from_nanos(duration(period)?))?;
                burst.map_or(Ok(quota.clone()), |burst| quota.with_burst(burst))
            }
        }
    }
}

/// Period of a bucket, for printing.
pub(super) struct Period(pub(super) u64);

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = PERIODS.iter().find(|(_, length)| *length == self.0) {
            return f.write_str(name);
        }
        match [("s", NANOS), ("ms", 1_000_000), ("us", 1_000)]
            .into_iter()
            .find(|(_, unit)| self.0.is_multiple_of(*unit))
        {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}ns", self.0),
        }
    }
}

impl CalendarUnit {
    /// Returns `true` if a bucket's period of this length would be parsed as a calendar window unless a burst is
    /// written.
    pub(super) fn is_period(period: u64) -> bool {
        [DAY, 7 * DAY].contains(&period)
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Day, Self::Week, Self::Month].into_iter().find(|unit| unit.name() == name)
    }
}

impl Quota {
    /// Returns the text that identifies the quota's counter. It leaves out the amount, so that a change of the amount
    /// keeps the usage so far.
    pub(crate) fn identity(&self) -> String {
        let what = self.unit().name();
        match self.span() {
            Span::Bucket { period, .. } => format!("{what}/{}", Period(*period)),
            Span::Calendar(calendar) => format!("{what}/calendar {calendar}"),
            Span::Concurrent => "concurrent".to_owned(),
        }
    }
}

/// Splits `100k input tokens` into `100k`, the unit, and the period that the unit's word implies, if any.
fn amount(text: &str) -> (&str, Unit, Option<&'static str>) {
    if text.starts_with('$') || text.starts_with("-$") {
        return (text, Unit::Money, None);
    }
    let (n, word) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (unit, period) = if word.is_empty() { (Unit::Requests, None) } else { Unit::read(word) };
    (n, unit, period)
}

fn quantity(text: &str, unit: &Unit) -> Result<u64, QuotaError> {
    if *unit == Unit::Money { dollars(text) } else { number(text) }
}

fn dollars(text: &str) -> Result<u64, QuotaError> {
    if text.starts_with("$-") {
        return Err(QuotaError::Negative);
    }
    let amount: Usd = text.parse().map_err(|_| QuotaError::Amount(text.chars().take(64).collect()))?;
    u64::try_from(amount.nanos()).map_err(|_| QuotaError::Negative)
}

/// Parses a number such as `1.5m` (1,500,000). The result must be an integer.
fn number(text: &str) -> Result<u64, QuotaError> {
    let error = || QuotaError::Amount(text.chars().take(64).collect());
    if text.starts_with('-') {
        return Err(QuotaError::Negative);
    }
    let (digits, zeros) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 3),
        Some((at, 'm' | 'M')) => (&text[..at], 6),
        Some((at, 'b' | 'B')) => (&text[..at], 9),
        _ => (text, 0),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.replace('_', "");
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || part.len() > zeros || !is_number(&whole) || !is_number(part) {
        return Err(error());
    }
    format!("{whole}{part:0<zeros$}").parse().map_err(|_| error())
}

/// Parses a period such as `minute`, `10s` or `250ms` to nanoseconds.
fn duration(text: &str) -> Result<u64, QuotaError> {
    let error = || QuotaError::Unit(text.chars().take(64).collect());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let unit = PERIODS.iter().chain(&[("us", 1_000), ("ns", 1)]).find(|(name, _)| *name == unit).ok_or_else(error)?.1;
    let count: u64 = if count.is_empty() { 1 } else { count.parse().map_err(|_| error())? };
    count.checked_mul(unit).ok_or(QuotaError::Period)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quota_text_is_parsed() {
        for (text, amount, unit, shown) in [
            ("10/minute", 10, Unit::Requests, "10 requests/minute"),
            ("5/month", 5, Unit::Requests, "5 requests/month"),
            ("$3/day", 3_000_000_000, Unit::Money, "$3.00/day"),
            ("$0.5/hour burst $0.1", 500_000_000, Unit::Money, "$0.50/hour burst $0.10"),
            ("100k input tokens/minute", 100_000, Unit::Input, "100000 input tokens/minute"),
            ("1.5M tokens/minute burst 20k", 1_500_000, Unit::Tokens, "1500000 tokens/minute burst 20000"),
            ("1_000 output tokens/10s", 1_000, Unit::Output, "1000 output tokens/10s"),
            ("20 concurrent", 20, Unit::Requests, "20 concurrent"),
            ("3 proposals/day burst 5", 3, Unit::units("proposal"), "3 proposals/day burst 5"),
            ("3 proposals/day burst 3", 3, Unit::units("proposal"), "3 proposals/day burst 3"),
            (
                "40 test cases/week in europe/berlin",
                40,
                Unit::units("Test Cases"),
                "40 test cases/week in Europe/Berlin",
            ),
            ("7/250ms", 7, Unit::Requests, "7 requests/250ms"),
        ] {
            let quota: Quota = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((quota.amount(), quota.unit(), quota.to_string().as_str()), (amount, &unit, shown));
            assert_eq!(shown.parse::<Quota>().unwrap(), quota, "{shown}");
        }
    }

    #[test]
    fn quota_text_invalid_is_refused_with_remedy() {
        for (text, what) in [
            ("", "is no quota"),
            ("10", "is no quota"),
            ("many/minute", "is no amount"),
            ("1.5/minute", "is no amount"),
            ("0/minute", "zero"),
            ("$0/day", "zero"),
            ("0 concurrent", "zero"),
            ("10/minute burst 0", "zero"),
            ("-5/minute", "negative"),
            ("$-3/day", "negative"),
            ("-$3/day", "negative"),
            ("10/fortnight", "is no period"),
            ("10/minutes", "is no period"),
            ("10/0s", "a period must"),
            ("10/99999h", "a period must"),
            ("10/99999999999999999999h", "is no period"),
            ("10/18446744073709551615h", "a period must"),
            ("5/month burst 9", "only a rate"),
            ("5/day in Atlantis/Centre", "is no time zone"),
            ("5/minute in UTC", "time zone"),
            ("5/day in UTC in UTC", "twice"),
            ("5/day in", "nothing after"),
            ("5/day please", "is no quota"),
            ("99999999999999999999/day", "is no amount"),
            ("18446744073709551615k/day", "is no amount"),
            ("$99999999999/day", "is no amount"),
        ] {
            let error = text.parse::<Quota>().expect_err(text).to_string();
            assert!(error.contains(what), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn quota_text_never_panics(text in "[0-9$./a-z -]{0,24}|.{0,24}") {
            if let Ok(quota) = text.parse::<Quota>() {
                prop_assert_eq!(quota.to_string().parse::<Quota>(), Ok(quota));
            }
        }
    }
}
