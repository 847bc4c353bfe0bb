//! Tests of refusals, and of the limits that responses advertise.

use crate::client::{ask, chat, post, prompt, with};
use crate::formats::{anthropic, gemini};
use bytes::Bytes;
use http::Request;
use llm_testkit::{Fault, RateLimits, RefusalKind, RetryForm, Rule, Vendor, Window};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn keys_refuse_unknown_ones() {
    let vendor = Vendor::builder().keys(["sk-a", "sk-b"]).build();
    assert_eq!(ask(&vendor, chat(&prompt("one"))).await.status, 200);
    let stranger = Request::post("/v1/chat/completions").header("authorization", "Bearer sk-c");
    let response = ask(&vendor, stranger.body(prompt("one").to_string().into()).expect("a request")).await;
    assert_eq!(response.status, 401);
    assert_eq!(error(&response.json()), ("invalid_request_error", Some("invalid_api_key")));
    assert!(!String::from_utf8_lossy(&response.bytes()).contains("sk-c"));
    assert_eq!(vendor.bills().len(), 1);
}

#[tokio::test]
async fn missing_key_is_refused_by_default() {
    let vendor = Vendor::new();
    for (authorization, status) in [("Bearer x", 200), ("bearer x", 200), ("Bearer ", 401), ("Basic x", 401)] {
        let request = Request::post("/v1/chat/completions").header("authorization", authorization);
        assert_eq!(
            ask(&vendor, request.body(prompt("one").to_string().into()).expect("a request")).await.status,
            status,
            "{authorization}"
        );
    }
    let request = Request::post("/v1/chat/completions").body(Bytes::new()).expect("a request");
    assert_eq!(ask(&vendor, request).await.status, 401);
}

#[tokio::test]
async fn refusal_of_bad_request_names_parameter() {
    let vendor = Vendor::new();
    for (body, param) in [
        (json!({"messages": [{"role": "user", "content": "a"}]}), json!("model")),
        (json!({"model": "m"}), json!("messages")),
        (json!({"model": "m", "messages": []}), json!("messages")),
        (json!({"model": "m", "messages": [{"role": "boss"}]}), json!("messages[0].role")),
        (with(prompt("a"), json!({"temperature": -1})), json!("temperature")),
        (with(prompt("a"), json!({"max_tokens": 0})), json!("max_tokens")),
        (with(prompt("a"), json!({"n": 129})), json!("n")),
        (with(prompt("a"), json!({"tool_choice": "required"})), json!("tool_choice")),
    ] {
        let response = ask(&vendor, chat(&body)).await;
        assert_eq!(response.status, 400, "{body}");
        assert_eq!(response.json()["error"]["param"], param);
        assert_eq!(vendor.response_text(&body), None);
    }
    assert!(vendor.bills().is_empty());
}

#[tokio::test]
async fn refusal_of_invalid_json() {
    let vendor = Vendor::new();
    let response = ask(&vendor, chat(&json!(null)).map(|_| Bytes::from_static(b"{\"model\":"))).await;
    assert_eq!(response.status, 400);
    assert_eq!(error(&response.json()), ("invalid_request_error", None));
}

#[tokio::test]
async fn models_refuse_unknown_ones() {
    let vendor = Vendor::builder().models(["n"]).build();
    for response in [
        ask(&vendor, chat(&prompt("one"))).await,
        ask(&vendor, post("embeddings", &json!({"model": "m", "input": "a"}))).await,
    ] {
        assert_eq!(response.status, 404);
        assert_eq!(error(&response.json()), ("invalid_request_error", Some("model_not_found")));
    }
}

#[tokio::test]
async fn refusal_of_unknown_paths_and_methods() {
    let vendor = Vendor::new();
    assert_eq!(ask(&vendor, post("completions", &json!({}))).await.status, 404);
    let get =
        Request::get("/v1/chat/completions").header("authorization", "Bearer x").body(Bytes::new()).expect("a request");
    assert_eq!(ask(&vendor, get).await.status, 405);
    assert_eq!(vendor.statuses().into_iter().collect::<Vec<_>>(), [(404, 1), (405, 1)]);
}

#[tokio::test]
async fn retry_form_determines_headers() {
    let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
    let vendor = Vendor::builder().wall_clock(move || epoch).build();
    for (form, seconds, millis) in [
        (RetryForm::Seconds, Some("2"), None),
        (RetryForm::HttpDate, Some("Sun, 06 Nov 1994 08:49:32 GMT"), None),
        (RetryForm::Millis, None, Some("1500")),
        (RetryForm::Both, Some("2"), Some("1500")),
        (RetryForm::Silent, None, None),
    ] {
        vendor.script(Rule::new(Fault::rate_limited(Duration::from_millis(1_500), form)).once());
        let response = ask(&vendor, chat(&prompt("one"))).await;
        assert_eq!(response.status, 429);
        let header = |name| response.headers.get(name).map(|value| value.to_str().expect("ASCII"));
        assert_eq!((header("retry-after"), header("retry-after-ms")), (seconds, millis), "{form:?}");
        assert_eq!(header("x-ratelimit-remaining-requests"), Some("0"));
        assert_eq!(header("x-ratelimit-reset-requests"), Some("1.5s"));
        assert_eq!(error(&response.json()), ("requests", Some("rate_limit_exceeded")));
    }
    assert_eq!(ask(&vendor, chat(&prompt("one"))).await.status, 200);
    assert_eq!((vendor.calls(), vendor.bills().len()), (6, 1));
}

#[tokio::test]
async fn insufficient_quota_has_own_code() {
    let vendor = Vendor::new();
    vendor.script(Rule::new(Fault::insufficient_quota()).key("sk-a"));
    let response = ask(&vendor, chat(&prompt("one"))).await;
    assert_eq!(response.status, 429);
    assert_eq!(error(&response.json()), ("insufficient_quota", Some("insufficient_quota")));
    assert!(!response.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn throttled_states_nothing_but_status() {
    let vendor = Vendor::new();
    vendor.script(Rule::new(Fault::Throttled).once());
    let response = ask(&vendor, chat(&prompt("one"))).await;
    assert_eq!((response.status.as_u16(), &*response.bytes()), (429, &b"too many requests\n"[..]));
    let stated = response.headers.keys().filter(|name| name.as_str().contains("limit") || *name == "retry-after");
    assert_eq!(stated.count(), 0, "{:?}", response.headers);
}

/// Vendors report a missing permission as a model that does not exist, instead of a 403.
#[tokio::test]
async fn no_access_is_not_found() {
    let vendor = Vendor::new();
    vendor.script(Rule::new(Fault::Refused(RefusalKind::NoAccess)).key("sk-a").model("m"));
    let message = with(prompt("one"), json!({"max_tokens": 5}));
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "one"}]}]});
    for (request, pointer, kind) in [
        (chat(&prompt("one")), "/error/code", "model_not_found"),
        (anthropic("messages", &message), "/error/type", "not_found_error"),
        (gemini("m:generateContent", &contents), "/error/status", "NOT_FOUND"),
    ] {
        let response = ask(&vendor, request).await;
        assert_eq!(response.status, 404);
        assert_eq!(response.json().pointer(pointer).and_then(Value::as_str), Some(kind));
    }
    assert_eq!(ask(&vendor, chat(&with(prompt("one"), json!({"model": "n"})))).await.status, 200);
}

#[tokio::test]
async fn rate_limits_are_advertised_as_set() {
    let vendor = Vendor::new();
    let window = |limit, remaining, seconds| Window { limit, remaining, reset: Duration::from_secs(seconds) };
    let (requests, tokens) = (window(60, 59, 1), window(1_000, 10, 90));
    vendor.set_rate_limits(Some(RateLimits { requests, tokens, ..RateLimits::default() }));
    let headers = ask(&vendor, chat(&prompt("one"))).await.headers;
    for (name, value) in [
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-requests", "59"),
        ("x-ratelimit-reset-requests", "1s"),
        ("x-ratelimit-limit-tokens", "1000"),
        ("x-ratelimit-remaining-tokens", "10"),
        ("x-ratelimit-reset-tokens", "1m30s"),
    ] {
        assert_eq!(headers[name], value);
    }
    vendor.set_rate_limits(None);
    assert!(!ask(&vendor, chat(&prompt("one"))).await.headers.contains_key("x-ratelimit-limit-requests"));
}

fn error(body: &Value) -> (&str, Option<&str>) {
    (body["error"]["type"].as_str().expect("a type"), body["error"]["code"].as_str())
}
