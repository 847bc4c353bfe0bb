//! Tests of waiting times in headers, fields and words: they are exact, and a timestamp is never read as a duration.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, StatusCode};
use llm_providers::{
    llm_core::layer::VendorLimit,
    protocol::{VendorProtocol, retry_after},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::codec;

/// 2026-08-19T14:34:15Z
const NOW: u64 = 1_787_150_055;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

/// Returns the waiting time that each format reads, which must be the same in all formats.
fn wait(status: u16, pairs: &[(&str, &str)], body: &Value) -> Option<Duration> {
    let classify = [codec::openai::classify, codec::anthropic::classify, codec::gemini::classify];
    let (status, headers, body) = (StatusCode::from_u16(status).unwrap(), headers(pairs), body.to_string());
    let waits = classify.map(|classify| classify(status, &headers, body.as_bytes(), now(), None).retry_after());
    assert!(waits[0] == waits[1] && waits[1] == waits[2], "{waits:?}: {pairs:?} {body}");
    waits[0]
}

fn message(text: &str) -> Value {
    json!({"error": {"message": text, "type": "rate_limit_error"}})
}

#[test]
fn waiting_times_are_read_from_words() {
    for (text, millis) in [
        ("Rate limit is exceeded. Please retry after 33 seconds. Contact support", 33_000),
        ("Rate limit reached. Please try again in 1.4s.", 1_400),
        ("Please try again in 7m12s.", 432_000),
        ("Please retry in 48.939s.", 48_939),
        ("Please wait 57 seconds before retrying.", 57_000),
        ("Try again in 1 hour and 30 minutes", 5_400_000),
        ("You have used up your quota. It will reset after 3h2m1s.", 10_921_000),
        ("Retry after 1787150099000", 44_000),
    ] {
        for status in [429, 503] {
            assert_eq!(wait(status, &[], &message(text)), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(wait(400, &[], &message(text)), None, "waiting does not help");
    }
}

#[test]
fn waiting_times_are_read_from_fields() {
    let limits =
        |reset: &str| json!({"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset});
    for (body, seconds) in [
        (json!({"error": {"type": "usage_limit_reached", "resets_in_seconds": 44, "resets_at": NOW + 44}}), 44),
        (json!({"error": {"type": "usage_limit_reached", "resets_at": NOW + 44}}), 44),
        (json!({"error": {"message": "no"}, "retry_after": 44}), 44),
        (json!({"error": {"message": "no", "retry_after_ms": 44_000}}), 44),
        (json!({"error": {"message": "no", "retryAfter": "44s"}}), 44),
        (json!({"error": {"message": "no", "reset_at": "2026-08-19T14:34:59.000Z"}}), 44),
        (json!({"error": {"message": "no", "metadata": {"retry_after_seconds": 44}}}), 44),
        (json!({"error": {"code": 429, "message": "no", "metadata": {"headers": limits("1787150099000")}}}), 44),
        (json!({"error": {"code": 429, "message": "no", "metadata": {"headers": limits("1787150099")}}}), 44),
        (json!({"error": {"message": "retry in 44s", "details": [{"retryDelay": "43s"}]}}), 44),
        (json!([{"error": {"message": "no", "details": [{"retryDelay": "44s"}]}}]), 44),
    ] {
        assert_eq!(wait(429, &[], &body), Some(Duration::from_secs(seconds)), "{body}");
    }
}

#[test]
fn waiting_times_come_from_exhausted_limits() {
    let body = message("slow down");
    let millis = |millis| Some(Duration::from_millis(millis));
    for (pairs, expected) in [
        (
            &[("x-ratelimit-remaining-tokens-minute", "0"), ("x-ratelimit-reset-tokens-minute", "11.38")][..],
            millis(11_380),
        ),
        (&[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "6m0s")], millis(360_000)),
        (&[("x-ratelimit-remaining-tokens", "5"), ("x-ratelimit-reset-tokens", "9s")], None),
        (&[("x-ratelimit-reset-tokens", "9s")], None),
        (&[("x-ratelimit-reset", "1787150099000")], millis(44_000)),
        (&[("x-ratelimit-reset", "1787150099")], millis(44_000)),
        (&[("x-ratelimit-reset", "44")], millis(44_000)),
        (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1787150099000")], millis(44_000)),
        (&[("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "1787150099000")], None),
        (&[("ratelimit-remaining", "0"), ("ratelimit-reset", "44")], millis(44_000)),
        (
            &[
                ("anthropic-ratelimit-requests-remaining", "0"),
                ("anthropic-ratelimit-requests-reset", "2026-08-19T14:34:59Z"),
            ],
            millis(44_000),
        ),
        (
            &[
                ("x-ratelimit-remaining-requests-day", "7"),
                ("x-ratelimit-reset-requests-day", "33011.38"),
                ("x-ratelimit-remaining-tokens-minute", "0"),
                ("x-ratelimit-reset-tokens-minute", "11.38"),
            ],
            millis(11_380),
        ),
        (&[("x-ratelimit-reset", "1787150099000"), ("retry-after", "2")], millis(2_000)),
        // A time in the past, and values that are not times, are ignored.
        (&[("x-ratelimit-reset", "1787150000000")], None),
        (&[("x-ratelimit-reset", "soon")], None),
    ] {
        assert_eq!(wait(429, pairs, &body), expected, "{pairs:?}");
    }
}

#[test]
fn limits_read_resets_in_every_form() {
    let limits = |pairs: &[(&str, &str)]| {
        llm_providers::openai::OpenAiProtocol::default().limits(&headers(pairs), &"m".into(), now())
    };
    let minute = [("x-ratelimit-remaining-tokens-minute", "0"), ("x-ratelimit-reset-tokens-minute", "11.38")];
    let tokens = VendorLimit::new(None, Some(0), Some(Duration::from_millis(11_380))).unwrap();
    assert_eq!(limits(&minute).unwrap().tokens, Some(tokens.with_window(VendorLimit::MINUTE)));
    for reset in ["44", "44s", "1787150099", "1787150099000", "2026-08-19T14:34:59Z"] {
        let requests = VendorLimit::new(None, None, Some(Duration::from_secs(44)));
        assert_eq!(limits(&[("x-ratelimit-reset-requests", reset)]).unwrap().requests, requests, "{reset}");
    }
}

proptest! {
    #[test]
    fn waiting_times_are_never_timestamps(
        name in prop::sample::select(&["retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-reset-tokens"][..]),
        field in prop::sample::select(&["retry_after", "retry_after_ms", "resets_in_seconds", "resets_at"][..]),
        epoch in NOW - 100_000_000..NOW + 100_000_000,
        zeros in prop::sample::select(&["", "000", "000000", "000000000"][..]),
    ) {
        let text = format!("{epoch}{zeros}");
        let year = Duration::from_secs(100_000_000);
        let in_words = message(&format!("retry after {text}"));
        let in_field = json!({"error": {"message": "no", field: text}});
        let used_up = [(name, &*text), ("x-ratelimit-remaining-tokens", "0")];
        let expected = (epoch > NOW).then(|| Duration::from_secs(epoch - NOW));
        for wait in [wait(429, &used_up, &json!({})), wait(429, &[], &in_words), wait(429, &[], &in_field)] {
            prop_assert_eq!(wait, expected);
            prop_assert!(wait.is_none_or(|wait| wait <= year));
        }
        let stated = retry_after(&headers(&[(name, &text)]), now());
        prop_assert!(stated.is_none_or(|wait| wait <= year));
    }
}
