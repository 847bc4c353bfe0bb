use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Returns the time until the next midnight in California, when daily quotas are reset.
pub(super) fn until_midnight(now: SystemTime) -> Duration {
    let utc = now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0));
    let local = |utc: i64| utc - if is_summer(utc - 8 * HOUR) { 7 * HOUR } else { 8 * HOUR };
    let midnight = (local(utc).div_euclid(DAY) + 1) * DAY;
    // The clocks change at two in the morning, so the offset at midnight is the one before a change on the same day.
    let next = if is_summer(midnight) { midnight + 7 * HOUR } else { midnight + 8 * HOUR };
    Duration::from_secs(u64::try_from(next - utc).unwrap_or(0))
}

/// Returns `true` during summer time. `standard` is the Pacific standard time in seconds since 1970. Summer time lasts
/// from the second Sunday of March to the first Sunday of November, each at two in the morning.
fn is_summer(standard: i64) -> bool {
    let year = year_of(standard.div_euclid(DAY));
    let begins = sunday(year, 3, 8) * DAY + 2 * HOUR;
    // Two o'clock in summer time is one o'clock in standard time.
    let ends = sunday(year, 11, 1) * DAY + HOUR;
    (begins..ends).contains(&standard)
}

/// Returns the first Sunday on or after a day, in days since 1970.
fn sunday(year: i64, month: i64, day: i64) -> i64 {
    let first = days(year, month, day);
    // The first of January 1970 was a Thursday.
    first + (3 - first).rem_euclid(7)
}

/// Returns the number of days from 1970 to a date. Years begin in March in the computation, so that the leap day comes
/// last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn year_of(day: i64) -> i64 {
    // The guess is wrong by at most one year, and only near the new year.
    let guess = 1970 + day.div_euclid(365);
    (0..).map(|less| guess - less).find(|year| days(*year, 1, 1) <= day).unwrap_or(guess)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(utc: u64) -> u64 {
        until_midnight(UNIX_EPOCH + Duration::from_secs(utc)).as_secs()
    }

    #[test]
    fn midnight_follows_daylight_saving() {
        // 2026-01-15 and 2026-07-15, 12:00 UTC.
        assert_eq!(wait(1_768_478_400), 20 * 3_600);
        assert_eq!(wait(1_784_116_800), 19 * 3_600);
    }

    #[test]
    fn midnight_is_a_day_after_midnight() {
        assert_eq!(wait(1_768_464_000), 24 * 3_600);
        assert_eq!(wait(1_768_463_999), 1);
        assert_eq!(wait(1_784_098_800), 24 * 3_600);
    }

    #[test]
    fn midnight_of_change_shifts_by_hour() {
        // 2026-03-08 and 2026-11-01, 0:00 in California.
        assert_eq!(wait(1_772_956_800), 23 * 3_600);
        assert_eq!(wait(1_793_516_400), 25 * 3_600);
        // One second before these midnights.
        assert_eq!(wait(1_772_956_799), 1);
        assert_eq!(wait(1_793_516_399), 1);
    }

    #[test]
    fn midnight_follows_every_hour_of_years() {
        for hour in 0..60_000u64 {
            let now = 1_700_000_000 + hour * 3_600;
            let wait = wait(now);
            assert!((1..=25 * 3_600).contains(&wait), "{now}");
            assert!(matches!((now + wait) % 86_400, 25_200 | 28_800), "{now}");
        }
    }
}
