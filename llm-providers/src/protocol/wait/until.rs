use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{duration, instant::instant};

/// Smallest bare number that counts as a timestamp. As a number of seconds it is 31 years, which no vendor asks a
/// caller to wait.
const TIMESTAMP: u64 = 1_000_000_000;

/// Parses the time until a limit is reset: a [`duration`], or a timestamp, for which the time from `now` is returned,
/// or zero if it has passed.
///
/// Timestamps are RFC 3339 times, HTTP dates, and bare numbers of at least 10⁹. The size of such a number decides if it
/// counts seconds, milliseconds, microseconds or nanoseconds since 1970. A smaller bare number is a duration in
/// seconds.
///
/// Returns `None` for any other text, and for a number that gives a time of 31 years or more, because such a number was
/// misread or mistyped.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use llm_providers::protocol::time_until;
///
/// let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
/// for text in ["30", "30s", "1700000030", "1700000030000", "2023-11-14T22:13:50Z", "Tue, 14 Nov 2023 22:13:50 GMT"] {
///     assert_eq!(time_until(text, now), Some(Duration::from_secs(30)), "{text}");
/// }
/// ```
pub fn time_until(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let until = |at: SystemTime| at.duration_since(now).unwrap_or_default();
    match duration(text) {
        Some(number) if number.as_secs() < TIMESTAMP => Some(number),
        Some(number) => epoch(text, number).map(until).filter(is_believable),
        None => instant(text).or_else(|| httpdate::parse_http_date(text).ok()).map(until),
    }
}

/// Returns `true` if a vendor may ask a caller to wait for this time.
pub(super) fn is_believable(wait: &Duration) -> bool {
    wait.as_secs() < TIMESTAMP
}

/// Returns the time that a timestamp stands for; `None` if the text ends with a unit, such as `s`, so that it is a
/// duration.
fn epoch(text: &str, number: Duration) -> Option<SystemTime> {
    if text.ends_with(char::is_alphabetic) {
        return None;
    }
    // A unit that is a thousand times smaller has three more digits.
    let steps = (number.as_secs().ilog10() - TIMESTAMP.ilog10()) / 3;
    UNIX_EPOCH.checked_add(number / 1_000_u32.pow(steps.min(3)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-08-19T14:34:15Z
    const NOW: u64 = 1_787_150_055;

    fn until(text: &str) -> Option<Duration> {
        time_until(text, UNIX_EPOCH + Duration::from_secs(NOW))
    }

    #[test]
    fn time_until_reads_every_form() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (text, wait) in [
            ("0", seconds(0)),
            (" 11.38 ", Some(Duration::from_millis(11_380))),
            ("6m0s", seconds(360)),
            ("999999999", seconds(999_999_999)),
            ("1787150099", seconds(44)),
            ("1787150099.5", Some(Duration::from_millis(44_500))),
            ("1787150099000", seconds(44)),
            ("1787150099250", Some(Duration::from_millis(44_250))),
            ("1787150099000000", seconds(44)),
            ("1787150099000000000", seconds(44)),
            ("2026-08-19T14:34:59Z", seconds(44)),
            ("Wed, 19 Aug 2026 14:34:59 GMT", seconds(44)),
            // Timestamps before `NOW`.
            ("1787150000", seconds(0)),
            ("1787150000000", seconds(0)),
            ("2026-08-19T14:34:14Z", seconds(0)),
            // Neither a duration nor a timestamp.
            ("soon", None),
            ("-5", None),
            ("", None),
            ("1787150099s", None),
            ("9999999999", None),
            ("18446744073709551616", None),
        ] {
            assert_eq!(until(text), wait, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn time_until_of_numbers_is_believable(number in any::<u64>(), fraction in 0u32..1_000) {
            for text in [number.to_string(), format!("{number}.{fraction}"), format!("{number}ms"), format!("{number}s")] {
                prop_assert!(until(&text).is_none_or(|wait| wait < Duration::from_secs(TIMESTAMP)), "{}", text);
            }
        }

        #[test]
        fn time_until_agrees_on_every_epoch_unit(wait in 0u64..86_400 * 365) {
            let at = NOW + wait;
            for zeros in ["", "000", "000000", "000000000"] {
                prop_assert_eq!(until(&format!("{at}{zeros}")), Some(Duration::from_secs(wait)), "{}{}", at, zeros);
            }
        }
    }
}
