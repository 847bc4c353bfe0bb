//! Tests of Anthropic's format.

use crate::client::{ask, chat, prompt, with};
use crate::formats::{anthropic, events, joined};
use bytes::Bytes;
use http::Request;
use llm_testkit::{
    Fault, Format, RateLimits, RefusalKind, RetryForm, Rule, Vendor, Window, anthropic as format, openai, tokens,
};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn anthropic_text_equals_openai_text() {
    let vendor = Vendor::new();
    let theirs = ask(&vendor, anthropic("messages", &with(message(), json!({"stop_sequences": ["#"]})))).await.json();
    let ours = ask(&vendor, chat(&with(message(), json!({"stop": ["#"]})))).await.json();
    assert_eq!(theirs["content"][0]["text"], ours["choices"][0]["message"]["content"]);
    assert_eq!(theirs["usage"]["input_tokens"], ours["usage"]["prompt_tokens"]);
    let bills = vendor.bills();
    assert_eq!(bills[0].response_hash, bills[1].response_hash);
    assert_eq!((bills[0].format, bills[1].format), (Format::Anthropic, Format::OpenAi));
}

#[tokio::test]
async fn anthropic_stream_equals_unary_response() {
    let vendor = Vendor::builder().reasoning_tokens(5).cached_percent(50).build();
    let thinking = json!({"max_tokens": 2_000, "thinking": {"type": "adaptive"}});
    for body in [message(), with(message(), thinking), with(message(), tools())] {
        let whole = ask(&vendor, anthropic("messages", &body)).await.json();
        let events = events(&ask(&vendor, anthropic("messages", &with(body, json!({"stream": true})))).await);
        let blocks = whole["content"].as_array().expect("content");
        for (index, block) in blocks.iter().enumerate() {
            let own: Vec<_> = events.iter().filter(|event| event["index"] == index).cloned().collect();
            match block["type"].as_str() {
                Some("thinking") => {
                    assert_eq!(block["thinking"], joined(&own, "/delta/thinking"));
                    assert_eq!(block["signature"], joined(&own, "/delta/signature"));
                }
                Some("text") => assert_eq!(block["text"], joined(&own, "/delta/text")),
                _ => {
                    let input: Value = serde_json::from_str(&joined(&own, "/delta/partial_json")).expect("JSON");
                    assert_eq!(block["input"], input);
                }
            }
        }
        let last = &events[events.len() - 2];
        assert_eq!(last["delta"]["stop_reason"], whole["stop_reason"]);
        assert_eq!(last["usage"]["output_tokens"], whole["usage"]["output_tokens"]);
        assert_eq!(last["usage"]["cache_read_input_tokens"], whole["usage"]["cache_read_input_tokens"]);
    }
}

#[tokio::test]
async fn anthropic_stream_has_documented_events() {
    let vendor = Vendor::builder().response_tokens(5..=5).build();
    let response = ask(&vendor, anthropic("messages", &with(message(), json!({"stream": true})))).await;
    let text = String::from_utf8(response.bytes().to_vec()).expect("UTF-8");
    let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let kinds =
        events(&response).iter().map(|event| event["type"].as_str().expect("a type").to_owned()).collect::<Vec<_>>();
    assert_eq!(names, kinds);
    assert_eq!(&names[..4], ["message_start", "content_block_start", "ping", "content_block_delta"]);
    assert_eq!(&names[8..], ["content_block_stop", "message_delta", "message_stop"]);
    assert_eq!(response.headers["content-type"], "text/event-stream; charset=utf-8");
}

#[tokio::test]
async fn anthropic_stop_reasons_are_all_given() {
    let vendor = Vendor::builder().response_tokens(12..=12).build();
    for (fields, reason) in [
        (json!({}), "end_turn"),
        (json!({"max_tokens": 3}), "max_tokens"),
        (tools(), "tool_use"),
        (
            json!({"stop_sequences": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"]}),
            "stop_sequence",
        ),
    ] {
        let response = ask(&vendor, anthropic("messages", &with(message(), fields))).await.json();
        assert_eq!(response["stop_reason"], reason);
        assert_eq!(response["stop_sequence"].is_string(), reason == "stop_sequence");
    }
    vendor.script(Rule::new(Fault::Filtered));
    let response = ask(&vendor, anthropic("messages", &message())).await.json();
    assert_eq!((&response["stop_reason"], &response["content"]), (&json!("refusal"), &json!([])));
}

#[tokio::test]
async fn anthropic_thinking_counts_only_when_enabled() {
    let vendor = Vendor::builder().reasoning_tokens(7).response_tokens(10..=10).build();
    let ask = async |fields| ask(&vendor, anthropic("messages", &with(message(), fields))).await.json();
    assert_eq!(ask(json!({})).await["usage"]["output_tokens"], 10);
    let thought = ask(json!({"max_tokens": 2_000, "thinking": {"type": "enabled", "budget_tokens": 1_024}})).await;
    assert_eq!(thought["usage"]["output_tokens"], 17);
    assert_eq!(thought["usage"]["output_tokens_details"]["thinking_tokens"], 7);
    let text = thought["content"][0]["thinking"].as_str().expect("thoughts");
    assert_eq!(tokens::count(text), 7);
    let hidden = ask(json!({"thinking": {"type": "adaptive", "display": "omitted"}})).await;
    assert_eq!((&hidden["content"][0]["thinking"], hidden["content"][0]["signature"].is_string()), (&json!(""), true));
    let budget = ask(json!({"thinking": {"type": "enabled", "budget_tokens": 1_024}})).await;
    assert_eq!(budget["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn anthropic_cache_writes_follow_breakpoints() {
    let vendor = Vendor::builder()
        .price("m", 1_000_000_000, 100_000_000, 5_000_000_000)
        .cache_write_price("m", 1_250_000_000, 2_000_000_000)
        .cached_percent(25)
        .cache_write_percent(100)
        .build();
    let part =
        |ttl| json!({"type": "text", "text": "x".repeat(400), "cache_control": {"type": "ephemeral", "ttl": ttl}});
    let body = with(message(), json!({"system": [part("5m"), part("1h")]}));
    let response = ask(&vendor, anthropic("messages", &body)).await.json();
    let usage = |name: &str| response["usage"][name].as_u64().expect("a count");
    let bill = vendor.bill(response["id"].as_str().expect("an id")).expect("a bill");
    let [short, long] = [bill.cache_write_5m_tokens, bill.cache_write_1h_tokens];
    assert!(short > 0 && long > 0);
    assert_eq!(
        response["usage"]["cache_creation"],
        json!({"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long})
    );
    assert_eq!(usage("cache_creation_input_tokens"), short + long);
    assert_eq!(usage("cache_read_input_tokens"), bill.cached_tokens);
    assert_eq!(usage("input_tokens"), bill.input_tokens - bill.cached_tokens - short - long);
    let milli = usage("input_tokens") * 1_000 + bill.cached_tokens * 100 + short * 1_250 + long * 2_000;
    assert_eq!(bill.nano_usd, milli + bill.output_tokens * 5_000);
    let plain = ask(&vendor, anthropic("messages", &message())).await.json();
    assert_eq!(plain["usage"]["cache_creation_input_tokens"], 0);
}

#[tokio::test]
async fn anthropic_token_counts_are_free() {
    let vendor = Vendor::new();
    let response = ask(&vendor, anthropic("messages/count_tokens", &prompt("one"))).await.json();
    assert_eq!(response, json!({"input_tokens": tokens::chat_input(&format::as_openai(&prompt("one")))}));
    assert!(vendor.bills().is_empty());
}

#[tokio::test]
async fn anthropic_accepts_both_key_headers() {
    let vendor = Vendor::builder().keys(["sk-a"]).build();
    let request = || Request::post("/v1/messages");
    for (request, status, kind) in [
        (request().header("x-api-key", "sk-a").header("anthropic-version", "2023-06-01"), 200, None),
        (request().header("authorization", "Bearer sk-a").header("anthropic-version", "2026-10-21"), 200, None),
        (request().header("x-api-key", "sk-a"), 400, Some("invalid_request_error")),
        (request().header("anthropic-version", "2023-06-01"), 401, Some("authentication_error")),
        (request().header("x-api-key", "sk-b").header("anthropic-version", "1"), 401, Some("authentication_error")),
    ] {
        let response = ask(&vendor, request.body(message().to_string().into()).expect("a request")).await;
        assert_eq!(response.status, status);
        assert_eq!(response.json()["error"]["type"].as_str(), kind);
    }
}

#[tokio::test]
async fn anthropic_refusals_have_names_and_id() {
    let vendor = Vendor::builder().models(["m"]).build();
    let wait = Duration::from_secs(2);
    for (fault, body, status, kind, code) in [
        (None, prompt("one"), 400, "invalid_request_error", None),
        (None, with(message(), json!({"model": "n"})), 404, "not_found_error", None),
        (Some(Fault::rate_limited(wait, RetryForm::Seconds)), message(), 429, "rate_limit_error", None),
        (Some(Fault::insufficient_quota()), message(), 429, "rate_limit_error", Some("enforced_spend_limit_reached")),
        (Some(Fault::Refused(RefusalKind::Overloaded)), message(), 529, "overloaded_error", None),
        (Some(Fault::Refused(RefusalKind::ServerError)), message(), 500, "api_error", None),
        (Some(Fault::Refused(RefusalKind::NoCredit)), message(), 402, "billing_error", None),
        (Some(Fault::Refused(RefusalKind::Forbidden)), message(), 403, "permission_error", None),
        (Some(Fault::Refused(RefusalKind::ContextTooLong)), message(), 400, "invalid_request_error", None),
    ] {
        fault.clone().into_iter().for_each(|fault| vendor.script(Rule::new(fault).once()));
        let response = ask(&vendor, anthropic("messages", &body)).await;
        let error = response.json();
        assert_eq!((response.status.as_u16(), error["error"]["type"].as_str()), (status, Some(kind)));
        assert_eq!(error["error"]["details"]["error_code"].as_str(), code);
        assert_eq!(error["request_id"], response.headers["request-id"].to_str().expect("ASCII"));
        assert_eq!(response.headers.contains_key("retry-after"), status == 429 && code.is_none());
    }
    assert!(vendor.bills().is_empty());
}

#[tokio::test]
async fn anthropic_stream_error_is_an_event() {
    let vendor = Vendor::new();
    vendor.script(Rule::new(Fault::ErrorEvent { after: 4 }));
    let response = ask(&vendor, anthropic("messages", &with(message(), json!({"stream": true})))).await;
    let last = String::from_utf8(response.frames.last().expect("frames").to_vec()).expect("UTF-8");
    assert!(last.starts_with("event: error\ndata: {"), "{last}");
    assert!(events(&response)[4].get("request_id").is_none());
    assert_eq!(vendor.bills()[0].output_tokens, 1);
}

#[tokio::test]
async fn anthropic_limit_resets_are_instants() {
    let vendor = Vendor::builder().wall_clock(|| SystemTime::UNIX_EPOCH).build();
    let window = |limit, remaining| Window { limit, remaining, reset: Duration::from_secs(90) };
    vendor.set_rate_limits(Some(RateLimits {
        requests: window(60, 59),
        tokens: window(10_000, 8_700),
        input_tokens: window(50_000, 49_700),
        output_tokens: window(10_000, 8_700),
    }));
    let headers = ask(&vendor, anthropic("messages", &message())).await.headers;
    for (name, value) in [
        ("anthropic-ratelimit-requests-limit", "60"),
        ("anthropic-ratelimit-requests-remaining", "59"),
        ("anthropic-ratelimit-requests-reset", "1970-01-01T00:01:30Z"),
        ("anthropic-ratelimit-tokens-remaining", "9000"),
        ("anthropic-ratelimit-input-tokens-limit", "50000"),
        ("anthropic-ratelimit-input-tokens-remaining", "50000"),
        ("anthropic-ratelimit-output-tokens-remaining", "9000"),
        ("anthropic-ratelimit-output-tokens-limit", "10000"),
        ("anthropic-ratelimit-tokens-reset", "1970-01-01T00:01:30Z"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert!(!headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn anthropic_models_follow_header_format() {
    let vendor = Vendor::builder().models(["a", "b"]).build();
    let list = Request::get("/v1/models").header("x-api-key", "k").header("anthropic-version", "2023-06-01");
    let list = ask(&vendor, list.body(Bytes::new()).expect("a request")).await.json();
    assert_eq!((&list["data"][1]["type"], &list["last_id"]), (&json!("model"), &json!("b")));
}

#[tokio::test]
async fn anthropic_cache_control_keeps_response_hash() {
    let marked =
        json!({"role": "user", "content": [{"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}}]});
    let marked = with(message(), json!({"messages": [marked]}));
    let hash = |body: &Value| openai::response_hash(&format::as_openai(body));
    assert_eq!(hash(&marked), hash(&message()));
    assert_ne!(hash(&message()), hash(&with(message(), json!({"top_k": 3}))));
}

fn message() -> Value {
    with(prompt("one"), json!({"max_tokens": 100}))
}

fn tools() -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}});
    json!({"tools": [{"name": "f", "input_schema": schema}], "tool_choice": {"type": "tool", "name": "f"}})
}
