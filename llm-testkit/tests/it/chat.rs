//! Tests of chat completions: texts, streams, usage and tools.

use crate::client::{ask, chat, prompt, with};
use llm_testkit::{Vendor, openai, tokens};
use serde_json::{Value, json};
use std::num::NonZeroUsize;

#[tokio::test]
async fn chat_text_follows_from_request() {
    let vendor = Vendor::new();
    let body = prompt("one");
    let response = ask(&vendor, chat(&body)).await.json();
    let text = response["choices"][0]["message"]["content"].as_str().expect("a text");
    assert_eq!(Some(text), vendor.response_text(&body).as_deref());
    assert!(text.starts_with(&format!("{:016x}", openai::response_hash(&body))));
    assert_eq!(response["choices"][0]["finish_reason"], "stop");
    assert_eq!(response["object"], "chat.completion");
    assert_ne!(vendor.response_text(&body), vendor.response_text(&prompt("two")));
}

#[tokio::test]
async fn chat_stream_equals_unary_response() {
    let vendor = Vendor::builder().tokens_per_delta(NonZeroUsize::new(3).expect("three")).reasoning_tokens(5).build();
    for body in [prompt("one"), with(prompt("two"), json!({"n": 3})), with(prompt("three"), json!({"max_tokens": 7}))] {
        let unary = ask(&vendor, chat(&body)).await.json();
        let options = json!({"stream": true, "stream_options": {"include_usage": true}});
        let stream = ask(&vendor, chat(&with(body, options))).await;
        for choice in unary["choices"].as_array().expect("choices") {
            let index = choice["index"].as_u64().expect("an index");
            assert_eq!(choice["message"]["content"], stream.streamed_text(index));
            assert!(finishes(&stream.chunks()).contains(&(index, choice["finish_reason"].clone())));
        }
        assert_eq!(stream.chunks().last().expect("chunks")["usage"], unary["usage"]);
    }
}

#[tokio::test]
async fn chat_stream_has_documented_events() {
    let vendor = Vendor::builder().response_tokens(6..=6).build();
    let response = ask(&vendor, chat(&with(prompt("one"), json!({"stream": true})))).await;
    assert_eq!(response.headers["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(response.frames.len(), 1 + 6 + 1 + 1);
    assert_eq!(response.data().last().map(String::as_str), Some("[DONE]"));
    let chunks = response.chunks();
    let with_role = chunks.iter().filter(|chunk| chunk["choices"][0]["delta"].get("role").is_some());
    assert_eq!(with_role.count(), 1);
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none() && chunk["id"] == chunks[0]["id"]));
}

#[tokio::test]
async fn chat_stream_interleaves_choices() {
    let vendor = Vendor::builder().response_tokens(3..=3).build();
    let chunks = ask(&vendor, chat(&with(prompt("one"), json!({"stream": true, "n": 2})))).await.chunks();
    let indices: Vec<_> = chunks.iter().filter_map(|chunk| chunk["choices"][0]["index"].as_u64()).collect();
    assert_eq!(indices, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
}

#[tokio::test]
async fn include_usage_adds_a_chunk() {
    let vendor = Vendor::new();
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let chunks = ask(&vendor, chat(&with(prompt("one"), options))).await.chunks();
    let (last, others) = chunks.split_last().expect("chunks");
    assert!(others.iter().all(|chunk| chunk["usage"] == Value::Null && chunk.get("usage").is_some()));
    assert_eq!(last["choices"], json!([]));
}

#[tokio::test]
async fn usage_counts_generated_tokens() {
    let vendor = Vendor::builder().reasoning_tokens(10).cached_percent(50).build();
    let body = with(prompt("a question of some length"), json!({"n": 2}));
    let response = ask(&vendor, chat(&body)).await.json();
    let said: u64 = vendor.response_texts(&body).iter().map(|text| tokens::count(text)).sum();
    let usage = &response["usage"];
    assert_eq!(usage["completion_tokens"], said + 20);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 20);
    assert_eq!(usage["prompt_tokens"], tokens::chat_input(&body));
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], tokens::chat_input(&body) / 2);
    assert_eq!(usage["total_tokens"], tokens::chat_input(&body) + said + 20);
}

#[tokio::test]
async fn max_tokens_truncates_response() {
    let vendor = Vendor::builder().response_tokens(20..=20).build();
    for field in ["max_tokens", "max_completion_tokens"] {
        let response = ask(&vendor, chat(&with(prompt("one"), json!({field: 4})))).await.json();
        assert_eq!(response["choices"][0]["finish_reason"], "length");
        assert_eq!(response["usage"]["completion_tokens"], 4);
    }
}

#[tokio::test]
async fn reasoning_tokens_count_towards_maximum() {
    let vendor = Vendor::builder().reasoning_tokens(30).build();
    let response = ask(&vendor, chat(&with(prompt("one"), json!({"max_completion_tokens": 12})))).await.json();
    assert_eq!(response["usage"]["completion_tokens"], 12);
    assert_eq!(response["choices"][0]["message"]["content"], "");
    assert_eq!(response["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn required_tool_call_fits_schema() {
    let vendor = Vendor::new();
    let body = with(prompt("weather"), tools("required".into()));
    let response = ask(&vendor, chat(&body)).await.json();
    let choice = &response["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Value::Null);
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(call["function"]["name"], "weather");
    let arguments: Value =
        serde_json::from_str(call["function"]["arguments"].as_str().expect("a string")).expect("JSON");
    assert!(arguments["city"].is_string() && arguments["days"].is_u64());
}

#[tokio::test]
async fn streamed_tool_call_equals_unary_one() {
    let vendor = Vendor::new();
    let body = with(prompt("weather"), tools(json!({"type": "function", "function": {"name": "weather"}})));
    let whole = ask(&vendor, chat(&body)).await.json()["choices"][0]["message"]["tool_calls"][0].clone();
    let chunks = ask(&vendor, chat(&with(body, json!({"stream": true})))).await.chunks();
    let fragments: Vec<_> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0])
        .filter(|call| !call.is_null())
        .collect();
    assert_eq!(fragments[0]["id"], whole["id"]);
    assert_eq!(fragments[0]["function"]["name"], whole["function"]["name"]);
    assert!(fragments.len() > 2 && fragments[1..].iter().all(|call| call.get("id").is_none()));
    let arguments: String = fragments.iter().filter_map(|call| call["function"]["arguments"].as_str()).collect();
    assert_eq!(whole["function"]["arguments"], arguments);
    assert_eq!(finishes(&chunks), [(0, json!("tool_calls"))]);
}

#[tokio::test]
async fn optional_tools_are_not_called() {
    let vendor = Vendor::new();
    let response = ask(&vendor, chat(&with(prompt("weather"), tools("auto".into())))).await.json();
    assert_eq!(response["choices"][0]["finish_reason"], "stop");
    assert!(response["choices"][0]["message"]["content"].is_string());
}

#[tokio::test]
async fn structured_response_fits_schema() {
    let vendor = Vendor::new();
    let schema = json!({"type": "object", "properties": {"score": {"type": "integer"}}});
    for (format, field) in [
        (json!({"type": "json_object"}), "response"),
        (json!({"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}), "score"),
    ] {
        let text = vendor.response_text(&with(prompt("one"), json!({"response_format": format}))).expect("a response");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert!(value.get(field).is_some(), "{value}");
    }
}

#[tokio::test]
async fn transport_fields_keep_response_text() {
    let vendor = Vendor::builder().response_tokens(30..=30).build();
    let plain = vendor.response_text(&prompt("one"));
    assert_eq!(
        plain,
        vendor.response_text(&with(prompt("one"), json!({"stream": true, "user": "u", "metadata": {"a": "b"}})))
    );
    assert_ne!(plain, vendor.response_text(&with(prompt("one"), json!({"seed": 1}))));
}

fn tools(choice: Value) -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}});
    json!({"tools": [{"type": "function", "function": {"name": "weather", "parameters": parameters}}], "tool_choice": choice})
}

fn finishes(chunks: &[Value]) -> Vec<(u64, Value)> {
    let choices = chunks.iter().flat_map(|chunk| chunk["choices"].as_array().into_iter().flatten());
    let ended = choices.filter(|choice| !choice["finish_reason"].is_null());
    ended.map(|choice| (choice["index"].as_u64().expect("an index"), choice["finish_reason"].clone())).collect()
}
