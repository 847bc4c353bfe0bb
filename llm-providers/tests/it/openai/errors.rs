//! Tests of the classification of errors.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, StatusCode};
use llm_providers::llm_core::{
    Charge, Error, ErrorKind,
    layer::{LimitScope, LimitWindow},
};
use serde_json::json;

use crate::codec::openai::classify;

fn refused(status: u16, body: &str) -> Error {
    classify(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes(), UNIX_EPOCH, None)
}

fn openai(status: u16, kind: &str, code: &str, message: &str) -> Error {
    refused(status, &json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string())
}

#[test]
fn openai_error_kind_follows_code_and_status() {
    use ErrorKind::*;
    let request = "invalid_request_error";
    for (status, kind, code, meant) in [
        (400, request, "unsupported_value", InvalidRequest),
        (400, request, "context_length_exceeded", ContextTooLong),
        (400, request, "model_not_found", NotFound),
        (400, request, "content_filter", ContentFiltered),
        (400, "image_generation_user_error", "content_policy_violation", ContentFiltered),
        (401, request, "invalid_api_key", Authentication),
        (403, "x", "unsupported_country_region_territory", PermissionDenied),
        (404, request, "model_not_found", NotFound),
        (404, "x", "DeploymentNotFound", NotFound),
        (405, "x", "method_not_supported", NotFound),
        (408, "x", "x", Timeout),
        (409, "x", "x", Server),
        (413, "x", "x", InvalidRequest),
        (422, "x", "x", InvalidRequest),
        (402, "x", "x", QuotaExhausted),
        (429, "requests", "rate_limit_exceeded", RateLimited),
        (429, "x", "RateLimitReached", RateLimited),
        (429, "insufficient_quota", "insufficient_quota", QuotaExhausted),
        (429, "insufficient_quota", "credit_balance_exhausted", QuotaExhausted),
        (429, "x", "organization_spend_limit_exceeded", QuotaExhausted),
        (429, "x", "project_spend_limit_exceeded", QuotaExhausted),
        (429, "x", "organization_usage_limit_exceeded", QuotaExhausted),
        (498, "x", "x", Overloaded),
        (500, "server_error", "x", Server),
        (500, "insufficient_quota", "x", Server),
        (502, "x", "x", Server),
        (503, "service_unavailable_error", "server_is_overloaded", Overloaded),
        (504, "x", "x", Timeout),
        (529, "x", "x", Overloaded),
        (307, "x", "x", NotFound),
    ] {
        let error = openai(status, kind, code, "why");
        assert_eq!(error.kind(), meant, "{status} {code}");
        assert_eq!((error.status(), error.code(), error.message()), (Some(status), Some(code), "why"));
        let refusal = status < 500 || status == 503 || status == 529;
        assert_eq!(error.charge(), if refusal { Charge::None } else { Charge::Unknown }, "{status}");
    }
}

#[test]
fn rate_limit_scope_is_the_model() {
    use LimitScope::{Group, Model};
    use LimitWindow::{Day, Minute, Money};
    for (kind, code, message, scope) in [
        ("tokens", "rate_limit_exceeded", "Limit 30000, Used 29500, Requested 1200.", Model(Minute)),
        ("requests", "rate_limit_exceeded", "Limit 3 / min. Please try again in 20s.", Model(Minute)),
        ("requests", "rate_limit_exceeded", "on requests per day (RPD): Limit 200, Used 200", Model(Day)),
        ("x", "rate_limit_exceeded", "model `m` on tokens per minute (TPM): Limit 6000, Used 6000", Model(Minute)),
        ("x", "429", "have exceeded call rate limit of your current pricing tier", Model(Minute)),
        ("x", "RateLimitReached", "x", Model(Minute)),
        ("rate_limit_error", "slow_down", "x", Model(Minute)),
        ("x", "429", "Rate limit exceeded: free-models-per-day-high-balance.", Group(Day)),
        ("x", "429", "Rate limit exceeded: free-models-per-min.", Group(Minute)),
        ("insufficient_quota", "insufficient_quota", "x", Group(Money)),
        ("insufficient_quota", "insufficient_quota", "on tokens per min", Group(Money)),
        ("x", "organization_spend_limit_exceeded", "x", Group(Money)),
    ] {
        assert_eq!(openai(429, kind, code, message).scope(), Some(scope), "{kind} {code} {message}");
    }
    assert_eq!(refused(429, "").scope(), None);
}

#[test]
fn rate_limit_below_request_is_not_retryable() {
    for message in ["Request too large for m", "on tokens per min (TPM): Limit 30,000, Requested 40000."] {
        let error = openai(429, "tokens", "rate_limit_exceeded", message);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert_eq!(error.scope(), Some(LimitScope::Model(LimitWindow::Request)));
        assert!(!error.is_retryable());
    }
}

#[test]
fn retry_after_reads_header_or_message() {
    let headers = HeaderMap::from_iter([("retry-after".parse().unwrap(), "7".parse().unwrap())]);
    let body = br#"{"error": {"message": "Please try again in 1.4s. See", "type": "tokens"}}"#;
    let stated = |status: u16, headers: &HeaderMap| {
        classify(StatusCode::from_u16(status).unwrap(), headers, body, UNIX_EPOCH, None).retry_after()
    };
    assert_eq!(stated(429, &headers), Some(Duration::from_secs(7)));
    assert_eq!(stated(429, &HeaderMap::new()), Some(Duration::from_millis(1_400)));
    assert_eq!(stated(503, &headers), Some(Duration::from_secs(7)));
    assert_eq!(stated(400, &headers), None, "waiting does not help");
}

#[test]
fn error_message_is_read_from_every_form() {
    for (body, message, code) in [
        (r#"{"error": "model 'x' not found"}"#, "model 'x' not found", None),
        (r#"{"detail": "Invalid API Key"}"#, "Invalid API Key", None),
        (r#"{"detail": [{"loc": ["body"], "msg": "bad"}]}"#, "body: bad", None),
        (r#"{"object": "error", "message": "bad", "type": "t", "code": 3}"#, "bad", Some("t")),
        (r#"[{"error": {"code": 400, "message": "listed", "status": "X"}}]"#, "listed", Some("X")),
        (r#"{"error": {"message": "m", "innererror": {"code": "Inner"}}}"#, "m", Some("Inner")),
        ("plain words", "plain words", None),
        ("", "the vendor responded with status 400 and no message", None),
        ("<html>secret</html>", "a page of HTML or XML came instead of a response: is a proxy between?", None),
    ] {
        let error = refused(400, body);
        assert_eq!((error.message(), error.code()), (message, code));
    }
    assert!(refused(308, "").message().contains("redirects elsewhere"));
}

#[test]
fn error_page_of_proxy_is_server_error() {
    let error = refused(502, "<html><h1>502 Bad Gateway</h1></html>");
    assert_eq!((error.kind(), error.charge(), error.is_retryable()), (ErrorKind::Server, Charge::Unknown, true));
}

#[test]
fn error_message_is_redacted_and_bounded() {
    let body =
        json!({"error": {"message": "Incorrect API key provided: sk-ab*****wxyz. Yours: my-own-key", "code": "k"}});
    let status = StatusCode::UNAUTHORIZED;
    let body = body.to_string();
    let error = classify(status, &HeaderMap::new(), body.as_bytes(), UNIX_EPOCH, Some("my-own-key"));
    assert_eq!(error.message(), "Incorrect API key provided: [key]. Yours: [key]");
    assert_eq!(refused(400, &"x y ".repeat(10_000)).message().chars().count(), 1_001);
}

#[test]
fn should_retry_header_of_openai_decides() {
    let stated = |status, again: &str, kind: &str| {
        let headers = [("x-should-retry".parse().unwrap(), again.parse().unwrap())].into_iter().collect();
        let body = json!({"error": {"message": "why", "type": kind}}).to_string();
        let error = classify(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), UNIX_EPOCH, None);
        error.is_retryable()
    };
    assert!(!stated(500, "false", "server_error") && !stated(429, "false", "requests"));
    assert!(stated(409, "true", "x") && stated(400, "true", "x") && stated(429, "perhaps", "requests"));
    assert!(!stated(429, "true", "insufficient_quota"), "money does not come by waiting");
}
