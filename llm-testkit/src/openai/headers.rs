//! Response headers: rate limits, waiting times, dates.

use crate::fault::RetryForm;
use crate::limits::RateLimits;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::fmt::Display;
use std::time::{Duration, SystemTime};

/// Writes `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`. Resets are in seconds if `seconds` is true,
/// otherwise as Go prints durations.
pub(super) fn limit_headers(headers: &mut HeaderMap, limits: &RateLimits, seconds: bool) {
    let reset = |reset: Duration| if seconds { ceil_seconds(reset).to_string() } else { go_duration(reset) };
    for (kind, window) in [("requests", &limits.requests), ("tokens", &limits.tokens)] {
        insert(headers, format!("x-ratelimit-limit-{kind}"), window.limit);
        insert(headers, format!("x-ratelimit-remaining-{kind}"), window.remaining);
        insert(headers, format!("x-ratelimit-reset-{kind}"), reset(window.reset));
    }
}

/// Writes `x-ratelimit-{limit,remaining}-{req,tokens}-minute` and the tokens of this call.
pub(super) fn minute_headers(headers: &mut HeaderMap, limits: &RateLimits, cost: u64) {
    for (kind, window) in [("req", &limits.requests), ("tokens", &limits.tokens)] {
        let name = |fact: &str| format!("x-ratelimit-{fact}-{kind}-minute");
        insert(headers, name("limit"), window.limit);
        insert(headers, name("remaining"), window.remaining);
    }
    insert(headers, "x-ratelimit-tokens-query-cost".into(), cost);
}

/// Inserts a header with a text as its value.
pub(crate) fn insert(headers: &mut HeaderMap, name: String, text: impl Display) {
    let name = HeaderName::try_from(name).expect("lower-case letters and dashes make a name");
    headers.insert(name, value(text));
}

/// Writes the time until a retry, in the given form.
pub(crate) fn retry_headers(headers: &mut HeaderMap, after: Duration, form: RetryForm, wall: SystemTime) {
    let seconds = ceil_seconds(after);
    let millis = HeaderName::from_static("retry-after-ms");
    if matches!(form, RetryForm::Seconds | RetryForm::Both) {
        headers.insert(header::RETRY_AFTER, value(seconds));
    }
    if matches!(form, RetryForm::Millis | RetryForm::Both) {
        headers.insert(millis, value(after.as_millis()));
    }
    if form == RetryForm::HttpDate {
        headers.insert(header::RETRY_AFTER, date(ceil_to_second(wall + after)));
    }
}

/// Formats `time` as an HTTP date.
pub(crate) fn date(time: SystemTime) -> HeaderValue {
    value(httpdate::fmt_http_date(time))
}

/// Converts a text to a header value.
pub(crate) fn value(text: impl Display) -> HeaderValue {
    HeaderValue::try_from(text.to_string()).expect("digits, letters and punctuation make a header")
}

fn ceil_seconds(duration: Duration) -> u128 {
    duration.as_millis().div_ceil(1_000)
}

fn ceil_to_second(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let rest = u64::from(since.subsec_nanos());
    if rest == 0 { time } else { time + Duration::from_nanos(1_000_000_000 - rest) }
}

/// Returns a duration as Go prints it, to the millisecond: `0s`, `6ms`, `1.5s`, `1m0s`, `1h2m3.5s`.
fn go_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis > 0 && millis < 1_000 {
        return format!("{millis}ms");
    }
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let fraction = format!("{:03}", millis % 1_000);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let seconds = format!("{}{point}{fraction}s", millis / 1_000 % 60);
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_headers_write_go_durations() {
        for (millis, text) in [
            (0, "0s"),
            (6, "6ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (60_000, "1m0s"),
            (3_723_500, "1h2m3.5s"),
            (8_640, "8.64s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn retry_after_date_rounds_up() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_776);
        let mut headers = HeaderMap::new();
        retry_headers(&mut headers, Duration::from_millis(200), RetryForm::HttpDate, wall);
        assert_eq!(headers["retry-after"], "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn retry_after_seconds_round_up() {
        let mut headers = HeaderMap::new();
        retry_headers(&mut headers, Duration::from_millis(1_001), RetryForm::Both, SystemTime::UNIX_EPOCH);
        assert_eq!(headers["retry-after"], "2");
        assert_eq!(headers["retry-after-ms"], "1001");
    }
}
