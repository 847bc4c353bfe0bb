use std::{
    fmt,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// Month of the Gregorian calendar, in UTC, written as `2026-11`.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use llm_providers::ledger::Month;
///
/// let month = Month::of(UNIX_EPOCH + Duration::from_secs(1_795_910_400));
/// assert_eq!(month.to_string(), "2026-11");
/// assert_eq!("2026-11".parse(), Ok(month));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Month {
    year: u16,
    month: u8,
}

/// Error of a text that is not a month.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a month: write it like 2026-11")]
pub struct ParseMonthError(String);

/// Day of the Gregorian calendar: year, month, day.
pub(super) type Date = (u64, u64, u64);

impl Month {
    /// Returns the month of a time. Times before 1970 are in `1970-01`.
    pub fn of(time: SystemTime) -> Self {
        let (year, month, _) = date(seconds(time) / 86_400);
        Self { year: u16::try_from(year).unwrap_or(9_999).min(9_999), month: u8::try_from(month).unwrap_or(12) }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = ParseMonthError;

    fn from_str(text: &str) -> Result<Self, ParseMonthError> {
        let number = |part: &str, digits| {
            (part.len() == digits && part.bytes().all(|digit| digit.is_ascii_digit())).then(|| part.parse().ok())?
        };
        let parts = text.split_once('-').and_then(|(year, month)| Some((number(year, 4)?, number(month, 2)?)));
        match parts {
            Some((year, month @ 1..=12)) => Ok(Self { year, month: month as u8 }),
            _ => Err(ParseMonthError(text.to_owned())),
        }
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

impl TryFrom<String> for Month {
    type Error = ParseMonthError;

    fn try_from(text: String) -> Result<Self, ParseMonthError> {
        text.parse()
    }
}

/// Writes a time in UTC as RFC 3339 requires.
pub(super) fn timestamp(time: SystemTime) -> String {
    let (seconds, millis) = (seconds(time), time.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_millis());
    let ((year, month, day), of_day) = (date(seconds / 86_400), seconds % 86_400);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns the date that is `days` days after 1970-01-01. Years begin in March in the computation, so that the leap day
/// comes last.
fn date(days: u64) -> Date {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn month_changes_at_midnight_utc() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_868_799, "2000-02-29T23:59:59.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000Z"),
            (1_798_761_600, "2027-01-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ];
        for (seconds, expected) in cases {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(timestamp(time), expected);
            assert_eq!(Month::of(time).to_string(), expected[..7]);
        }
        assert_eq!(Month::of(UNIX_EPOCH - Duration::from_secs(1)), Month::of(UNIX_EPOCH));
    }

    #[test]
    fn month_refuses_other_texts() {
        for text in ["", "2026", "2026-13", "2026-00", "26-11", "2026-1", "+026-11", "2026-11-01"] {
            assert_eq!(text.parse::<Month>(), Err(ParseMonthError(text.to_owned())));
        }
    }
}
