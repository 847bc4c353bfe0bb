//! Tests of the classification of errors.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, StatusCode};
use llm_providers::llm_core::{
    Charge, Error, ErrorKind,
    layer::{LimitScope, LimitWindow},
};
use serde_json::{Value, json};

use crate::codec::gemini::classify;

fn of(status: u16, body: &Value) -> Error {
    // 2026-07-15, 12:00 UTC.
    let now = UNIX_EPOCH + Duration::from_secs(1_784_116_800);
    classify(
        StatusCode::from_u16(status).unwrap(),
        &HeaderMap::new(),
        body.to_string().as_bytes(),
        now,
        Some("key-of-mine"),
    )
}

fn error(code: u16, status: &str, message: &str, details: Value) -> Value {
    json!({"error": {"code": code, "status": status, "message": message, "details": details}})
}

fn quota(id: &str, value: &str, delay: Option<&str>) -> Value {
    let mut details = vec![json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaMetric": "m", "quotaId": id, "quotaValue": value}]})];
    details
        .extend(delay.map(|delay| json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})));
    details.into()
}

#[test]
fn gemini_error_kind_follows_status() {
    use ErrorKind::*;
    for (code, status, message, kind) in [
        (400, "INVALID_ARGUMENT", "Invalid value at 'contents'", InvalidRequest),
        (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", Authentication),
        (400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", Authentication),
        (400, "FAILED_PRECONDITION", "User location is not supported for the API use.", PermissionDenied),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).",
            ContextTooLong,
        ),
        (401, "UNAUTHENTICATED", "no", Authentication),
        (402, "X", "pay", QuotaExhausted),
        (403, "PERMISSION_DENIED", "no", PermissionDenied),
        (403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers", Authentication),
        (403, "PERMISSION_DENIED", "Your API key was reported as leaked.", Authentication),
        (404, "NOT_FOUND", "models/x is not found", NotFound),
        (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).", RateLimited),
        (429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.", QuotaExhausted),
        (499, "CANCELLED", "gone", Cancelled),
        (500, "INTERNAL", "oh", Server),
        (502, "X", "oh", Server),
        (503, "UNAVAILABLE", "The model is overloaded.", Overloaded),
        (504, "DEADLINE_EXCEEDED", "late", Timeout),
    ] {
        let stated = error(code, status, message, json!([]));
        for body in [stated.clone(), json!([stated])] {
            let error = of(code, &body);
            assert_eq!((error.kind(), error.status(), error.code()), (kind, Some(code), Some(status)), "{message}");
            assert_eq!(error.message(), message);
            let refused = (code < 500 && code != 499) || code == 503;
            assert_eq!(error.charge(), if refused { Charge::None } else { Charge::Unknown }, "{code}");
        }
    }
}

#[test]
fn gemini_invalid_key_400_is_authentication() {
    let details = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"},
        {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "r-1"}]);
    let error = of(400, &error(400, "INVALID_ARGUMENT", "key-of-mine is not one, nor is AIzaSyA-1234", details));
    assert_eq!((error.kind(), error.code()), (ErrorKind::Authentication, Some("API_KEY_INVALID")));
    assert_eq!((error.message(), error.request_id()), ("[key] is not one, nor is [key]", Some("r-1")));
    assert!(!format!("{error:?}").contains("key-of-mine"));
}

#[test]
fn gemini_quota_states_window_and_wait() {
    let limited = |id: &str, delay: Option<&str>, message: &str| {
        let error = of(429, &error(429, "RESOURCE_EXHAUSTED", message, quota(id, "10", delay)));
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        (error.scope().unwrap(), error.retry_after())
    };
    let millis = |millis| Some(Duration::from_millis(millis));
    let minute = LimitScope::Model(LimitWindow::Minute);
    let id = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier";
    assert_eq!(limited(id, Some("34.4s"), "slow"), (minute, millis(34_400)));
    assert_eq!(limited(id, Some("48s"), "Please retry in 48.939s."), (minute, millis(48_939)));
    assert_eq!(limited(id, None, "Please retry in 812.5ms."), (minute, Some(Duration::from_micros(812_500))));
    assert_eq!(limited(id, Some("0s"), "slow"), (minute, None));
    let group = LimitScope::Group(LimitWindow::Minute);
    assert_eq!(limited("RequestsPerMinutePerProject", None, "slow"), (group, None));
    let day = LimitScope::Model(LimitWindow::Day);
    let until_midnight = Some(Duration::from_secs(19 * 3_600));
    assert_eq!(
        limited("GenerateRequestsPerDayPerProjectPerModel-FreeTier", Some("34s"), "slow"),
        (day, until_midnight)
    );
}

#[test]
fn gemini_quota_daily_outweighs_minute() {
    let violation = |id: &str, value: &str| json!({"quotaId": id, "quotaValue": value});
    let both = |violations: Value| {
        let details = json!([{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}]);
        let error = of(429, &error(429, "RESOURCE_EXHAUSTED", "x", details));
        (error.kind(), error.scope())
    };
    let (minute, day) = (violation("XPerMinute", "5"), violation("XPerDay", "5"));
    let group = |window| Some(LimitScope::Group(window));
    assert_eq!(both(json!([minute, day])), (ErrorKind::RateLimited, group(LimitWindow::Day)));
    let never = violation("XPerMinute", "0");
    assert_eq!(both(json!([day, never])), (ErrorKind::QuotaExhausted, group(LimitWindow::Money)));
    assert_eq!(both(json!([violation("Other", "5"), 7])), (ErrorKind::RateLimited, None));
}

#[test]
fn gemini_proxy_page_shows_no_secret() {
    let at = |status: u16, body: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        classify(StatusCode::from_u16(status).unwrap(), &headers, body, UNIX_EPOCH, None)
    };
    let page = at(502, b"<html><body>Bad Gateway</body></html>");
    assert_eq!((page.kind(), page.retry_after()), (ErrorKind::Server, Some(Duration::from_secs(7))));
    assert!(page.message().contains("proxy") && !page.message().contains('<'));
    assert!(at(301, b"").message().contains("redirects"));
    assert!(at(404, b"").message().contains("404"));
    assert_eq!(at(403, b"{\"error\": \"no\"}").message(), "no");
    assert_eq!(at(429, b"[{}]").retry_after(), Some(Duration::from_secs(7)));
}
