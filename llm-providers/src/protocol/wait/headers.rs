use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, header::RETRY_AFTER};

use super::{duration, time_until};

/// Substrings of the names of headers about limits.
pub(super) const LIMITS: [&str; 2] = ["ratelimit-", "rate-limit-"];

/// Returns the waiting time that the vendor asks for: `retry-after-ms`, otherwise `retry-after` as seconds, as a
/// timestamp or as an HTTP date after `now`.
///
/// Zero, or a time that is not in the future, counts as not stated, as in the official clients: Azure sends
/// `retry-after-ms: 0` beside `retry-after: 1`.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let positive = |wait: &Duration| !wait.is_zero();
    let millis = || milliseconds(text("retry-after-ms")?, now);
    let seconds = || time_until(text(RETRY_AFTER.as_str())?, now);
    millis().filter(positive).or_else(|| seconds().filter(positive))
}

/// Parses milliseconds without a unit, unless the number is a timestamp.
pub(super) fn milliseconds(text: &str, now: SystemTime) -> Option<Duration> {
    let number = duration(text).filter(|_| text.ends_with(|c: char| c.is_ascii_digit() || c == '.'))?;
    match number.as_secs() {
        0..1_000_000_000 => Some(number / 1_000),
        _ => time_until(text, now),
    }
}

/// Returns the time until the limits that are used up, according to the headers, are reset.
pub(super) fn used_up_reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    longest_used_up(headers.keys().map(HeaderName::as_str), |name| headers.get(name)?.to_str().ok(), now)
}

/// Returns the longest time until the reset of a limit that is used up. `x-ratelimit-reset-tokens` counts if
/// `x-ratelimit-remaining-tokens` is 0. `x-ratelimit-reset` also counts if no header states the remaining amount.
pub(super) fn longest_used_up<'a, 'v>(
    names: impl Iterator<Item = &'a str>,
    value: impl Fn(&str) -> Option<&'v str>,
    now: SystemTime,
) -> Option<Duration> {
    let resets = names.filter(|name| LIMITS.iter().any(|of| name.contains(of)) && name.contains("reset"));
    let resets = resets.filter_map(|name| {
        let used_up = match value(&name.replace("reset", "remaining")) {
            Some(remaining) => duration(remaining).is_some_and(|remaining| remaining.is_zero()),
            None => name.ends_with("limit-reset"),
        };
        used_up.then(|| time_until(value(name)?, now)).flatten()
    });
    resets.max().filter(|wait| !wait.is_zero())
}

/// Reads the header by which the vendor advises the caller to retry or not.
pub(crate) fn should_retry(headers: &HeaderMap) -> Option<bool> {
    headers.get("x-should-retry")?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn wait_of(pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        // Sun, 06 Nov 1994 08:49:37 GMT, less 30.5 s.
        retry_after(&headers, UNIX_EPOCH + Duration::from_millis(784_111_746_500))
    }

    #[test]
    fn retry_after_reads_every_form() {
        assert_eq!(wait_of(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(wait_of(&[("retry-after", "1.25")]), Some(Duration::from_millis(1_250)));
        assert_eq!(wait_of(&[("retry-after-ms", "1400")]), Some(Duration::from_millis(1_400)));
        assert_eq!(wait_of(&[("retry-after-ms", "1.5")]), Some(Duration::from_micros(1_500)));
        assert_eq!(wait_of(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(Duration::from_millis(30_500)));
    }

    #[test]
    fn retry_after_prefers_nonzero_milliseconds() {
        assert_eq!(wait_of(&[("retry-after", "2"), ("retry-after-ms", "1500")]), Some(Duration::from_millis(1_500)));
        assert_eq!(wait_of(&[("retry-after", "1"), ("retry-after-ms", "0")]), Some(Duration::from_secs(1)));
    }

    #[test]
    fn retry_after_ignores_past_and_invalid() {
        for text in ["0", "-3", "soon", "NaN", "5 s", "Sun, 06 Nov 1994 08:49:06 GMT", "99999999999999999999999"] {
            assert_eq!(wait_of(&[("retry-after", text)]), None, "{text}");
        }
        assert_eq!(wait_of(&[]), None);
    }

    #[test]
    fn retry_after_reads_timestamps() {
        for text in ["784111777", "784111777000"] {
            // A value below 10⁹ counts as a duration in seconds, even if it was meant as a timestamp.
            assert!(wait_of(&[("retry-after", text)]).is_none_or(|wait| wait < Duration::from_secs(1_000_000_000)));
        }
        let now = UNIX_EPOCH + Duration::from_secs(1_787_150_055);
        for name in ["retry-after", "retry-after-ms"] {
            for text in ["1787150099", "1787150099000"] {
                let headers = HeaderMap::from_iter([(name.parse().unwrap(), text.parse().unwrap())]);
                assert_eq!(retry_after(&headers, now), Some(Duration::from_secs(44)), "{name}: {text}");
            }
        }
    }
}
