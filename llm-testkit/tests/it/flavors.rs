//! Tests of the flavors of OpenAI's format.

use crate::client::{Received, ask, prompt, with};
use crate::formats::{compatible, events};
use bytes::Bytes;
use http::Request;
use llm_testkit::{Fault, Flavor, RateLimits, RetryForm, Rule, Vendor, Window};
use serde_json::{Value, json};
use std::time::Duration;

const FLAVORS: [Flavor; 8] = [
    Flavor::OpenAi,
    Flavor::Azure,
    Flavor::Mistral,
    Flavor::DeepSeek,
    Flavor::Groq,
    Flavor::OpenRouter,
    Flavor::Ollama,
    Flavor::Vllm,
];

#[tokio::test]
async fn flavors_return_equal_texts() {
    for flavor in FLAVORS {
        let vendor = vendor(flavor);
        let response = ask(&vendor, compatible(flavor, &prompt("one"))).await.json();
        let stream = ask(&vendor, compatible(flavor, &streamed())).await;
        let expected = vendor.response_text(&prompt("one")).expect("a response");
        assert_eq!(text(&response["choices"][0]["message"]["content"]), expected, "{flavor:?}");
        let said: String = events(&stream).iter().map(|chunk| text(&chunk["choices"][0]["delta"]["content"])).collect();
        assert_eq!(said, expected, "{flavor:?}");
        let totals: Vec<_> =
            events(&stream).iter().map(|chunk| chunk["usage"].clone()).filter(Value::is_object).collect();
        assert_eq!(totals, [response["usage"].clone()], "{flavor:?}");
        assert_eq!(vendor.bills()[0].output_tokens, vendor.bills()[1].output_tokens);
        let id = response["id"].as_str().expect("an id");
        assert_eq!(vendor.bill(id), Some(vendor.bills().remove(0)));
    }
}

#[tokio::test]
async fn flavor_determines_usage_chunk() {
    for (flavor, asked, unasked) in [
        (Flavor::OpenAi, Some(0), None),
        (Flavor::Mistral, Some(1), Some(1)),
        (Flavor::DeepSeek, Some(1), None),
        (Flavor::Groq, Some(1), None),
        (Flavor::OpenRouter, Some(1), None),
    ] {
        let vendor = vendor(flavor);
        for (body, choices) in [(streamed(), asked), (with(prompt("one"), json!({"stream": true})), unasked)] {
            let chunks = events(&ask(&vendor, compatible(flavor, &body)).await);
            let total = chunks.iter().find(|chunk| chunk["usage"].is_object());
            let found = total.map(|chunk| chunk["choices"].as_array().map_or(0, Vec::len));
            assert_eq!(found, choices, "{flavor:?}");
        }
    }
}

#[tokio::test]
async fn flavor_determines_reasoning_field() {
    for (flavor, pointer) in [
        (Flavor::DeepSeek, "/reasoning_content"),
        (Flavor::Groq, "/reasoning"),
        (Flavor::OpenRouter, "/reasoning"),
        (Flavor::Ollama, "/reasoning"),
        (Flavor::Vllm, "/reasoning_content"),
        (Flavor::Mistral, "/content/0/thinking/0/text"),
    ] {
        let vendor = vendor(flavor);
        let whole = ask(&vendor, compatible(flavor, &prompt("one"))).await.json();
        let thoughts = whole["choices"][0]["message"].pointer(pointer).and_then(Value::as_str).expect("thoughts");
        let chunks = events(&ask(&vendor, compatible(flavor, &streamed())).await);
        let deltas = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"].pointer(pointer)?.as_str());
        assert_eq!(deltas.collect::<String>(), thoughts, "{flavor:?}");
        assert_eq!(llm_testkit::tokens::count(thoughts), 5);
    }
}

#[tokio::test]
async fn flavor_determines_stream_comments() {
    for (flavor, head) in [
        (Flavor::OpenAi, "data: {"),
        (Flavor::DeepSeek, ": keep-alive\n\ndata: {"),
        (Flavor::OpenRouter, ": OPENROUTER PROCESSING\n\ndata: {"),
    ] {
        let response = ask(&vendor(flavor), compatible(flavor, &streamed())).await;
        assert!(response.bytes().starts_with(head.as_bytes()), "{flavor:?}");
    }
}

#[tokio::test]
async fn azure_accepts_api_key_and_deployment_path() {
    let vendor = Vendor::builder().flavor(Flavor::Azure).keys(["sk-a"]).models(["dep"]).build();
    let path = "/openai/deployments/dep/chat/completions?api-version=2024-10-21";
    let request = Request::post(path).header("api-key", "sk-a").body(Bytes::from(streamed().to_string()));
    let response = ask(&vendor, request.expect("a request")).await;
    let chunks = events(&response);
    assert_eq!((&chunks[0]["choices"], &chunks[0]["model"]), (&json!([]), &json!("")));
    assert!(chunks[0]["prompt_filter_results"].is_array());
    assert_eq!(chunks[1]["model"], "dep");
    assert_eq!((vendor.bills()[0].model.as_str(), vendor.bills()[0].key.as_str()), ("dep", "sk-a"));
    assert!(response.headers.contains_key("apim-request-id"));
}

#[tokio::test]
async fn filtered_prompt_is_400_only_at_azure() {
    for flavor in FLAVORS {
        let vendor = vendor(flavor);
        vendor.script(Rule::new(Fault::Filtered));
        let response = ask(&vendor, compatible(flavor, &prompt("one"))).await;
        if flavor == Flavor::Azure {
            assert_eq!((response.status.as_u16(), &response.json()["error"]["code"]), (400, &json!("content_filter")));
            assert!(response.json()["error"]["innererror"].is_object());
        } else {
            assert_eq!(response.json()["choices"][0]["finish_reason"], "content_filter", "{flavor:?}");
        }
    }
}

#[tokio::test]
async fn flavor_determines_limit_headers() {
    for (flavor, present, absent) in [
        (Flavor::OpenAi, &[("x-ratelimit-reset-tokens", "1m30s")][..], "x-ratelimit-limit-req-minute"),
        (Flavor::Groq, &[("x-ratelimit-reset-tokens", "1m30s")], "openai-version"),
        (Flavor::Azure, &[("x-ratelimit-reset-tokens", "90")], "openai-version"),
        (
            Flavor::Mistral,
            &[("x-ratelimit-limit-req-minute", "60"), ("x-ratelimit-remaining-tokens-minute", "10")],
            "x-ratelimit-reset-tokens",
        ),
        (Flavor::DeepSeek, &[], "x-ratelimit-limit-tokens"),
        (Flavor::OpenRouter, &[], "x-ratelimit-limit-tokens"),
        (Flavor::Ollama, &[], "x-ratelimit-limit-tokens"),
        (Flavor::Vllm, &[], "x-ratelimit-limit-tokens"),
    ] {
        let vendor = vendor(flavor);
        let window = |limit, remaining| Window { limit, remaining, reset: Duration::from_secs(90) };
        let (requests, tokens) = (window(60, 59), window(1_000, 10));
        vendor.set_rate_limits(Some(RateLimits { requests, tokens, ..RateLimits::default() }));
        let headers = ask(&vendor, compatible(flavor, &prompt("one"))).await.headers;
        assert!(present.iter().all(|(name, value)| headers[*name] == *value), "{flavor:?}: {headers:?}");
        assert!(!headers.contains_key(absent), "{flavor:?}");
    }
}

#[tokio::test]
async fn flavor_determines_refusal_of_bad_key() {
    for (flavor, pointer, value) in [
        (Flavor::OpenAi, "/error/code", json!("invalid_api_key")),
        (Flavor::Azure, "/error/code", json!("401")),
        (Flavor::Mistral, "/detail", json!("the key is not known here")),
        (Flavor::DeepSeek, "/error/type", json!("authentication_error")),
        (Flavor::Groq, "/error/code", json!("invalid_api_key")),
        (Flavor::OpenRouter, "/error/code", json!(401)),
        (Flavor::Vllm, "/error/code", json!(401)),
    ] {
        let vendor = Vendor::builder().flavor(flavor).keys(["sk-b"]).build();
        let response = ask(&vendor, compatible(flavor, &prompt("one"))).await;
        assert_eq!((response.status.as_u16(), response.json().pointer(pointer)), (401, Some(&value)), "{flavor:?}");
        assert_eq!(
            response.json()["error"].get("param").is_some(),
            matches!(flavor, Flavor::OpenAi | Flavor::DeepSeek | Flavor::Vllm)
        );
    }
}

#[tokio::test]
async fn ollama_and_vllm_need_no_key() {
    for flavor in [Flavor::Ollama, Flavor::Vllm] {
        let vendor = Vendor::builder().flavor(flavor).build();
        let request = Request::post("/v1/chat/completions").body(Bytes::from(prompt("one").to_string()));
        assert_eq!(ask(&vendor, request.expect("a request")).await.status, 200);
        assert_eq!(vendor.bills()[0].key, "");
    }
}

#[tokio::test]
async fn mistral_accepts_tool_choice_any() {
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let body = with(prompt("one"), json!({"tools": [tool], "tool_choice": "any"}));
    let finish = async |flavor| {
        ask(&vendor(flavor), compatible(flavor, &body)).await.json()["choices"][0]["finish_reason"].clone()
    };
    assert_eq!((finish(Flavor::Mistral).await, finish(Flavor::OpenAi).await), (json!("tool_calls"), json!("stop")));
}

#[tokio::test]
async fn flavor_determines_context_length_error() {
    for (flavor, words) in [
        (Flavor::Mistral, "too large for model with 32768 maximum context length"),
        (Flavor::OpenRouter, "This endpoint's maximum context length is 32768 tokens"),
        (Flavor::Vllm, "This model's maximum context length is 32768 tokens"),
    ] {
        let vendor = vendor(flavor);
        vendor.script(Rule::new(Fault::Refused(llm_testkit::RefusalKind::ContextTooLong)));
        let response = ask(&vendor, compatible(flavor, &prompt("one"))).await;
        assert!(
            response.status == 400 && response.json().to_string().contains(words),
            "{flavor:?}: {}",
            response.json()
        );
        assert!(!response.json().to_string().contains("context_length_exceeded"), "{flavor:?}");
    }
}

#[tokio::test]
async fn flavor_determines_no_credit_status() {
    for flavor in FLAVORS {
        let vendor = vendor(flavor);
        vendor.script(Rule::new(Fault::insufficient_quota()).once());
        vendor.script(Rule::new(Fault::rate_limited(Duration::from_secs(1), RetryForm::Seconds)).once());
        let money = ask(&vendor, compatible(flavor, &prompt("one"))).await.status.as_u16();
        let expected = if matches!(flavor, Flavor::DeepSeek | Flavor::OpenRouter) { 402 } else { 429 };
        assert_eq!(money, expected, "{flavor:?}");
        let wait = ask(&vendor, compatible(flavor, &prompt("one"))).await;
        assert_eq!((wait.status.as_u16(), &wait.headers["retry-after"]), (429, &http::HeaderValue::from_static("1")));
    }
}

#[tokio::test]
async fn openrouter_stream_error_is_a_chunk() {
    let flavor = Flavor::OpenRouter;
    let vendor = vendor(flavor);
    vendor.script(Rule::new(Fault::ErrorEvent { after: 3 }));
    let chunks = events(&ask(&vendor, compatible(flavor, &streamed())).await);
    let last = chunks.last().expect("chunks");
    assert_eq!((&last["error"]["code"], &last["choices"][0]["finish_reason"]), (&json!(500), &json!("error")));
}

#[tokio::test]
async fn flavor_determines_extra_fields() {
    let ask = async |flavor| -> Received {
        let price = Vendor::builder().price("m", 2_000_000_000, 1_000_000_000, 8_000_000_000);
        ask(&price.flavor(flavor).cached_percent(50).build(), compatible(flavor, &prompt("one"))).await
    };
    let usage = &ask(Flavor::DeepSeek).await.json()["usage"];
    let count = |name: &str| usage[name].as_u64().expect("a count");
    assert_eq!(count("prompt_cache_hit_tokens") + count("prompt_cache_miss_tokens"), count("prompt_tokens"));
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], count("prompt_cache_hit_tokens"));

    assert!(ask(Flavor::Groq).await.json()["x_groq"]["id"].is_string());

    let routed = ask(Flavor::OpenRouter).await.json();
    let usage = &routed["usage"];
    let (input, cached) = (usage["prompt_tokens"].as_u64(), usage["prompt_tokens_details"]["cached_tokens"].as_u64());
    let (input, cached, output) =
        (input.expect("a count"), cached.expect("a count"), usage["completion_tokens"].as_u64());
    let nano = (input - cached) * 2_000 + cached * 1_000 + output.expect("a count") * 8_000;
    assert_eq!(usage["cost"].to_string().parse::<f64>().map(|usd| (usd * 1e9).round() as u64), Ok(nano));
    assert!(routed["provider"].is_string() && routed["choices"][0]["native_finish_reason"].is_string());
}

fn vendor(flavor: Flavor) -> Vendor {
    Vendor::builder().flavor(flavor).reasoning_tokens(5).response_tokens(9..=9).build()
}

fn streamed() -> Value {
    with(prompt("one"), json!({"stream": true, "stream_options": {"include_usage": true}}))
}

/// Returns the text of content, which is a string or parts.
fn text(content: &Value) -> String {
    match content {
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}
