//! Tests of every documented form of Anthropic's responses, errors and limits, with bodies written for these tests.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, StatusCode};
use llm_providers::llm_core::{
    Charge, Error, ErrorKind, Extra, FinishReason, Part, Usage,
    layer::{LimitScope, LimitWindow},
};
use serde_json::{Value, json};

use crate::codec::anthropic::{classify, decode_chat, decode_count, decode_models};

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn refusal(status: u16, pairs: &[(&'static str, &'static str)], body: &str) -> Error {
    let status = StatusCode::from_u16(status).unwrap();
    classify(status, &headers(pairs), body.as_bytes(), UNIX_EPOCH, Some("my-own-key"))
}

fn error_body(kind: &str, message: &str, code: Option<&str>) -> String {
    let details = code.map(|code| json!({"error_code": code}));
    json!({"type": "error", "error": {"type": kind, "message": message, "details": details}, "request_id": "req_b"})
        .to_string()
}

fn usage(stated: Value) -> (Option<Usage>, Extra) {
    let body = json!({"content": [], "usage": stated}).to_string();
    let decoded = decode_chat(body.as_bytes()).unwrap();
    (decoded.usage, decoded.output.extra)
}

#[test]
fn anthropic_usage_input_includes_cached_tokens() {
    let plain = Usage::new(9, 5);
    assert_eq!(usage(json!({"input_tokens": 9, "output_tokens": 5})).0, Some(plain));
    // If the vendor states no split, all writes count as writes for minutes.
    let unsplit = json!({"input_tokens": 9, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 100,
        "output_tokens": 5});
    assert_eq!(usage(unsplit).0, Some(Usage { cache_read: 100, cache_write: 30, ..Usage::new(139, 5) }));
    let split = json!({"input_tokens": 9, "cache_creation_input_tokens": 30, "cache_read_input_tokens": null,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}, "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 4}});
    let expected = Usage { cache_write: 10, cache_write_long: 20, reasoning: 4, ..Usage::new(39, 5) };
    assert_eq!(usage(split).0, Some(expected));
    for odd in [json!({}), json!(null), json!({"input_tokens": -1, "output_tokens": 2}), json!({"input_tokens": 1})] {
        assert_eq!(usage(odd).0, None);
    }
}

#[test]
fn anthropic_usage_keeps_unknown_fields() {
    let (_, extra) = usage(json!({"input_tokens": 9, "output_tokens": 5, "service_tier": "priority", "speed": null,
        "server_tool_use": {"web_search_requests": 2}, "cache_creation": {"ephemeral_9d_input_tokens": 1}}));
    let kept = json!({"service_tier": "priority", "server_tool_use": {"web_search_requests": 2},
        "cache_creation": {"ephemeral_9d_input_tokens": 1}});
    assert_eq!(extra.get("usage"), Some(&kept));
}

#[test]
fn finish_reason_of_anthropic_is_mapped() {
    for (reason, finish) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("tool_use", FinishReason::ToolCalls),
        ("refusal", FinishReason::ContentFilter),
        ("pause_turn", FinishReason::Other("pause_turn".into())),
    ] {
        let body = json!({"id": "i", "model": "m", "content": [{"type": "text", "text": "a"}], "stop_reason": reason,
            "stop_sequence": "END", "stop_details": {"category": "bio"}, "new": 1, "container": null});
        let response = decode_chat(body.to_string().as_bytes()).unwrap().output;
        assert_eq!(response.finish(), &finish);
        let choice = &response.choices[0].extra;
        assert_eq!(
            (choice.get("stop_sequence"), choice.get("stop_details")),
            (Some(&json!("END")), Some(&json!({"category": "bio"})))
        );
        assert_eq!(choice.get("stop_reason").is_some(), reason == "model_context_window_exceeded");
        assert_eq!(response.extra.iter().collect::<Vec<_>>(), [("new", &json!(1))]);
    }
}

#[test]
fn anthropic_blocks_of_unknown_type_are_kept() {
    let odd = json!([{"type": "song", "notes": [1]}, 3, {"type": "text", "text": 5}, {"type": "tool_use"}]);
    let response = decode_chat(json!({"content": odd}).to_string().as_bytes()).unwrap().output;
    let kept = response.choices[0].parts.iter().map(|part| match part {
        Part::Other { value } => (**value).clone(),
        other => panic!("{other:?}"),
    });
    assert_eq!(Value::Array(kept.collect()), odd);
    assert_eq!(response.finish(), &FinishReason::Unknown);
}

#[test]
fn anthropic_invalid_response_is_malformed() {
    for (body, why) in [
        ("", "empty"),
        ("<html></html>", "HTML"),
        ("{", "not JSON"),
        ("[]", "not an object"),
        ("{}", "no content"),
        ("{\"content\": \"hi\"}", "no content"),
    ] {
        let error = decode_chat(body.as_bytes()).unwrap_err();
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Malformed, Charge::Unknown), "{body}");
        assert!(error.message().contains(why), "{error}");
    }
    let counted = r#"{"usage": {"input_tokens": 1, "output_tokens": 2}}"#;
    assert_eq!(decode_chat(counted.as_bytes()).unwrap_err().charge(), Charge::Known(Usage::new(1, 2)));
    let busy = error_body("overloaded_error", "Overloaded", None);
    let error = decode_chat(busy.as_bytes()).unwrap_err();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Overloaded, Charge::None));
}

#[test]
fn anthropic_error_kind_follows_type() {
    use ErrorKind::*;
    let group = |window| Some(LimitScope::Group(window));
    let model = |window| Some(LimitScope::Model(window));
    let money = group(LimitWindow::Money);
    for (status, kind, message, code, expected, scope) in [
        (400, "invalid_request_error", "messages.0: wrong", None, InvalidRequest, None),
        (400, "invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", None, ContextTooLong, None),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 9 + 9 > 10",
            None,
            ContextTooLong,
            None,
        ),
        (400, "invalid_request_error", "Output blocked by content filtering policy", None, ContentFiltered, None),
        (
            400,
            "invalid_request_error",
            "You have reached your specified API usage limits. Wait.",
            None,
            QuotaExhausted,
            money,
        ),
        (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the API.",
            None,
            QuotaExhausted,
            money,
        ),
        (401, "authentication_error", "invalid x-api-key", None, Authentication, None),
        (402, "billing_error", "a problem with your billing", None, QuotaExhausted, money),
        (403, "permission_error", "no", None, PermissionDenied, None),
        (404, "not_found_error", "model: x", None, NotFound, None),
        (408, "timeout_error", "late", None, Timeout, None),
        (409, "conflict_error", "again", None, Server, None),
        (413, "request_too_large", "too large", None, InvalidRequest, None),
        (
            429,
            "rate_limit_error",
            "would exceed 40,000 input tokens per minute",
            None,
            RateLimited,
            model(LimitWindow::Minute),
        ),
        (429, "rate_limit_error", "requests per day", None, RateLimited, model(LimitWindow::Day)),
        (429, "rate_limit_error", "slower", Some("ramp_limit_exceeded"), RateLimited, group(LimitWindow::Minute)),
        (429, "rate_limit_error", "x", Some("enforced_spend_limit_reached"), QuotaExhausted, money),
        (429, "rate_limit_error", "x", Some("contract_spend_limit_reached"), QuotaExhausted, money),
        (429, "rate_limit_error", "x", Some("linked_organization_spend_limit_reached"), QuotaExhausted, money),
        (429, "rate_limit_error", "x", Some("code_of_next_year"), RateLimited, model(LimitWindow::Minute)),
        (500, "api_error", "Your credit balance is too low", None, Server, None),
        (504, "timeout_error", "late", None, Timeout, None),
        (529, "overloaded_error", "Overloaded", None, Overloaded, None),
    ] {
        let error = refusal(status, &[], &error_body(kind, message, code));
        assert_eq!((error.kind(), error.scope()), (expected, scope), "{status} {message} {code:?}");
        assert_eq!((error.message(), error.code()), (message, Some(code.unwrap_or(kind))));
        assert_eq!((error.status(), error.request_id()), (Some(status), Some("req_b")));
        let unknown = matches!(status, 500 | 504);
        assert_eq!(error.charge() == Charge::Unknown, unknown, "{status}");
    }
}

#[test]
fn retry_after_of_anthropic_counts_for_refusals() {
    let wait = [("retry-after", "7"), ("request-id", "req_h")];
    let limited = refusal(429, &wait, &error_body("rate_limit_error", "slow", None));
    assert_eq!((limited.retry_after(), limited.request_id()), (Some(Duration::from_secs(7)), Some("req_h")));
    assert_eq!(refusal(529, &wait, "").retry_after(), Some(Duration::from_secs(7)));
    assert_eq!(refusal(400, &wait, "").retry_after(), None);
}

#[test]
fn should_retry_header_of_anthropic_decides() {
    let (again, never) = ([("x-should-retry", "true")], [("x-should-retry", "false")]);
    assert!(!refusal(500, &never, "").is_retryable());
    assert!(refusal(500, &again, "").is_retryable());
    assert!(refusal(400, &again, "").is_retryable());
    assert!(refusal(429, &[("x-should-retry", "perhaps")], "").is_retryable());
    // Waiting does not help if the account has no money.
    assert!(!refusal(402, &again, "").is_retryable());
}

#[test]
fn anthropic_error_body_of_proxy_is_redacted() {
    let page = refusal(502, &[], "<html>bad gateway</html>");
    assert!(page.message().contains("HTML") && page.kind() == ErrorKind::Server);
    assert!(refusal(503, &[], "").message().contains("503"));
    assert!(refusal(307, &[], "").message().contains("redirects"));
    assert_eq!(refusal(400, &[], r#"{"error": "plain"}"#).message(), "plain");
    assert_eq!(refusal(400, &[], r#"{"message": "flat"}"#).message(), "flat");
    let leaky =
        error_body("authentication_error", "bad key my-own-key or sk-ant-api03-abcdef", Some("sk-ant-api03-abcdef"));
    let error = refusal(401, &[], &leaky);
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("my-own-key") && !shown.contains("api03"), "{shown}");
}

#[test]
fn anthropic_token_counts_and_models_are_read() {
    assert_eq!(decode_count(br#"{"input_tokens": 16}"#).unwrap(), 16);
    let error = decode_count(br#"{"tokens": 16}"#).unwrap_err();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Malformed, Charge::None));
    let refused = decode_count(error_body("not_found_error", "model: x", None).as_bytes()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);

    let page = json!({"data": [{"type": "model", "id": "m-1", "display_name": "M 1", "created_at": "2026-01-01T00:00:00Z",
        "max_input_tokens": 10, "max_tokens": 5}], "has_more": true, "first_id": "m-1", "last_id": "m-1"});
    let (models, next) = decode_models(page.to_string().as_bytes()).unwrap();
    assert_eq!((&*models[0].id, models[0].name.as_deref(), next.as_deref()), ("m-1", Some("M 1"), Some("m-1")));
    assert_eq!((models[0].input_limit, models[0].output_limit), (Some(10), Some(5)));
    assert!(models[0].extra.get("created_at").is_some());
    let last = json!({"data": [], "has_more": true, "last_id": "m-1"});
    assert_eq!(decode_models(last.to_string().as_bytes()).unwrap().1, None);
    assert_eq!(decode_models(b"{}").unwrap_err().kind(), ErrorKind::Malformed);
    assert_eq!(decode_models(br#"{"data": [3]}"#).unwrap_err().kind(), ErrorKind::Malformed);
}

#[test]
fn surcharges_of_anthropic_are_listed_if_charged() {
    let of =
        |stated: Value| decode_chat(json!({"content": [], "usage": stated}).to_string().as_bytes()).unwrap().surcharges;
    assert!(of(json!({"inference_geo": "not_available", "speed": "standard"})).is_empty());
    assert!(of(json!({"inference_geo": "global", "speed": null})).is_empty());
    let both = of(json!({"inference_geo": "us", "speed": "fast", "input_tokens": 1, "output_tokens": 1}));
    assert_eq!(both.iter().map(|way| &**way).collect::<Vec<_>>(), ["us", "fast"]);
}

#[test]
fn anthropic_failed_response_keeps_service_tier() {
    let usage = json!({"input_tokens": 9, "output_tokens": 5, "service_tier": "priority", "inference_geo": "us"});
    let error = decode_chat(json!({"model": "claude-x", "usage": usage}).to_string().as_bytes()).unwrap_err();
    assert_eq!(error.charge(), Charge::Known(Usage::new(9, 5)));
    let accounting = error.accounting().unwrap();
    assert_eq!((accounting.model.as_deref(), accounting.service_tier.as_deref()), (Some("claude-x"), Some("priority")));
    assert_eq!(accounting.surcharges, ["us".into()]);
}
