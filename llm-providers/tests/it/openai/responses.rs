//! Tests of every documented form of a unary response, with bodies written for these tests.

use llm_providers::llm_core::{Charge, ChatResponse, ErrorKind, FinishReason, Part, Usage};
use serde_json::{Value, json};

use crate::codec::openai::{Decoded, decode_chat, decode_embeddings};

fn decode(body: Value) -> Decoded<ChatResponse> {
    decode_chat(body.to_string().as_bytes()).unwrap()
}

fn choice(message: Value, finish: &str) -> Value {
    json!({"choices": [{"index": 0, "message": message, "finish_reason": finish}]})
}

fn response(message: Value) -> ChatResponse {
    decode(choice(message, "stop")).output
}

#[test]
fn openai_response_text_keeps_every_field() {
    let decoded = decode(json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "gpt-x-2026",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hola", "refusal": null, "annotations": []},
            "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 3, "cache_write_tokens": 30},
            "completion_tokens_details": {"reasoning_tokens": 7, "audio_tokens": 2, "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0}},
        "service_tier": "default", "system_fingerprint": "fp_1"}));
    let response = decoded.output;
    assert_eq!((&*response.id, &*response.model, &*response.text()), ("chatcmpl-1", "gpt-x-2026", "Hola"));
    assert_eq!(response.choices[0].parts, [Part::text("Hola")]);
    assert_eq!(response.finish(), &FinishReason::Stop);
    let usage = Usage { input: 100, cache_read: 60, cache_write: 30, audio_input: 3, ..Usage::new(100, 20) };
    assert_eq!(decoded.usage, Some(Usage { reasoning: 7, audio_output: 2, ..usage }));
    assert_eq!(decoded.service_tier.as_deref(), Some("default"));
    // The order of the fields depends on the features of serde_json.
    let names: std::collections::BTreeSet<_> = response.extra.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["created", "service_tier", "system_fingerprint"].into());
    assert!(response.choices[0].message_extra.is_empty());
}

#[test]
fn tool_call_arguments_are_kept_verbatim() {
    let response = response(json!({"content": null, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1"}},
        {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": {"b": 2}}, "extra_content": {"s": "x"}},
        {"id": "call_3", "type": "custom", "custom": {"name": "h", "input": "free text"}}]}));
    let calls: Vec<_> = response.tool_calls().collect();
    assert_eq!((&*calls[0].id, &*calls[0].name, &*calls[0].arguments), ("call_1", "f", "{\"a\": 1"));
    assert_eq!(&*calls[1].arguments, "{\"b\":2}");
    assert_eq!(calls[1].extra.get("extra_content"), Some(&json!({"s": "x"})));
    assert_eq!((&*calls[2].name, &*calls[2].arguments), ("h", "free text"));
    assert_eq!(calls[2].extra.get("type"), Some(&json!("custom")));
}

#[test]
fn function_call_deprecated_is_tool_call() {
    let body = choice(json!({"content": null, "function_call": {"name": "f", "arguments": "{}"}}), "function_call");
    let response = decode(body).output;
    assert_eq!(response.tool_calls().map(|call| (&*call.name, &*call.id)).collect::<Vec<_>>(), [("f", "")]);
    assert_eq!(response.finish(), &FinishReason::ToolCalls);
}

#[test]
fn finish_reason_of_openai_is_mapped() {
    for (said, meant) in [
        ("stop", FinishReason::Stop),
        ("length", FinishReason::Length),
        ("tool_calls", FinishReason::ToolCalls),
        ("function_call", FinishReason::ToolCalls),
        ("content_filter", FinishReason::ContentFilter),
        ("model_length", FinishReason::Length),
        ("eos", FinishReason::Stop),
        ("", FinishReason::Unknown),
        ("enough", FinishReason::Other("enough".into())),
    ] {
        assert_eq!(decode(choice(json!({"content": "x"}), said)).output.finish(), &meant);
    }
    let silent = json!({"choices": [{"message": {"content": "x"}, "finish_reason": null}]});
    assert_eq!(decode(silent).output.finish(), &FinishReason::Unknown);
}

#[test]
fn openai_refusals_and_reasoning_are_parts() {
    let refused = response(json!({"content": null, "refusal": "I would rather not"}));
    assert_eq!(refused.choices[0].refusal(), Some("I would rather not"));
    for field in ["reasoning_content", "reasoning"] {
        let thought = response(json!({"content": "4", field: "2 and 2"}));
        assert_eq!((thought.choices[0].reasoning(), &*thought.text()), ("2 and 2".to_owned(), "4"));
        assert!(thought.choices[0].message_extra.is_empty());
    }
    let both = response(json!({"content": "4", "reasoning_content": "same", "reasoning": "same"}));
    assert_eq!(both.choices[0].reasoning(), "same");
    let other = response(json!({"content": "4", "reasoning_content": "a", "reasoning": "b"}));
    assert_eq!(other.choices[0].message_extra.get("reasoning"), Some(&json!("b")));
}

#[test]
fn openai_content_may_be_part_list() {
    let response = response(json!({"content": [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}, {"type": "text", "text": "m"}]},
        {"type": "text", "text": "yes"}, {"type": "reference", "reference_ids": [1]}]}));
    let choice = &response.choices[0];
    assert_eq!((choice.reasoning(), &*choice.text()), ("hmm".to_owned(), "yes"));
    assert!(matches!(&choice.parts[2], Part::Other { value } if value["reference_ids"] == json!([1])));
}

#[test]
fn openai_choices_keep_their_index() {
    let one = |index: u32, text: &str| json!({"index": index, "message": {"content": text}, "finish_reason": "stop"});
    let response = decode(json!({"choices": [one(1, "b"), one(0, "a")]})).output;
    let seen: Vec<_> = response.choices.iter().map(|choice| (choice.index, choice.text())).collect();
    assert_eq!(seen, [(1, "b".into()), (0, "a".into())]);
}

#[test]
fn openai_unknown_fields_survive_at_every_level() {
    let decoded = decode(json!({"citations": ["u"], "choices": [{"message": {"content": "x", "audio": {"id": "a"}},
        "finish_reason": "stop", "content_filter_results": {"hate": {"filtered": false}}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.5, "prompt_tokens_details": {"image_tokens": 4}}}));
    let (response, choice) = (&decoded.output, &decoded.output.choices[0]);
    assert_eq!(response.extra.get("citations"), Some(&json!(["u"])));
    assert_eq!(response.extra.get("usage"), Some(&json!({"cost": 0.5, "prompt_tokens_details": {"image_tokens": 4}})));
    assert_eq!(choice.extra.get("content_filter_results"), Some(&json!({"hate": {"filtered": false}})));
    assert_eq!(choice.message_extra.get("audio"), Some(&json!({"id": "a"})));
}

#[test]
fn openai_usage_may_be_missing_or_dialect() {
    let with = |usage: Value| decode(json!({"choices": [{"message": {"content": "x"}}], "usage": usage})).usage;
    assert_eq!(with(Value::Null), None);
    assert_eq!(with(json!({})), None);
    let short = json!({"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": null});
    assert_eq!(with(short), Some(Usage::new(3, 1)));
    let deepseek = json!({"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 1});
    assert_eq!(with(deepseek).unwrap().cache_read, 8);
    assert_eq!(
        with(json!({"prompt_tokens": 9, "completion_tokens": 1, "num_cached_tokens": 4})).unwrap().cache_read,
        4
    );
}

#[test]
fn openai_invalid_response_is_malformed_unknown_charge() {
    for (body, why) in [
        (&b""[..], "empty"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"OK", "not JSON"),
        (b"{\"choices\": [", "not JSON"),
        (b"[]", "not an object"),
        (b"{}", "no choices"),
        (b"{\"choices\": []}", "empty list"),
        (b"{\"choices\": [1]}", "not an object"),
        (b"{\"choices\": [{}]}", "no message"),
        (b"{\"choices\": [{\"message\": {\"content\": 1}}]}", "content"),
        (b"{\"choices\": [{\"message\": {\"content\": \"\xff\"}}]}", "UTF-8"),
    ] {
        let error = decode_chat(body).unwrap_err();
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Malformed, Charge::Unknown), "{error}");
        assert!(error.message().contains(why), "{error}");
    }
    let billed = br#"{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}}"#;
    assert_eq!(decode_chat(billed).unwrap_err().charge(), Charge::Known(Usage::new(5, 0)));
}

#[test]
fn error_in_success_of_openai_is_error() {
    let error = |error: Value| decode_chat(json!({"error": error}).to_string().as_bytes()).unwrap_err();
    let busy = error(json!({"code": 503, "message": "try later", "metadata": {"provider_name": "p"}}));
    assert_eq!((busy.kind(), busy.message(), busy.charge()), (ErrorKind::Overloaded, "try later", Charge::None));
    let failed = error(json!({"type": "server_error", "message": "oh", "code": null, "param": null}));
    assert_eq!((failed.kind(), failed.charge()), (ErrorKind::Server, Charge::Unknown));
    let broke = error(json!({"type": "insufficient_quota", "code": "insufficient_quota", "message": "no money"}));
    assert_eq!(broke.kind(), ErrorKind::QuotaExhausted);
}

#[test]
fn openai_embeddings_keep_input_order() {
    let body = json!({"object": "list", "model": "e", "usage": {"prompt_tokens": 7, "total_tokens": 7}, "data": [
        {"object": "embedding", "index": 1, "embedding": "AACAPwAAAMA="},
        {"object": "embedding", "index": 0, "embedding": [0.25, -1]}]});
    let decoded = decode_embeddings(body.to_string().as_bytes(), 2).unwrap();
    assert_eq!(decoded.output.vectors, [[0.25f32, -1.0].into(), std::sync::Arc::from([1.0f32, -2.0])]);
    assert_eq!((decoded.usage, &*decoded.output.model), (Some(Usage::new(7, 0)), "e"));
    assert!(decoded.output.extra.is_empty());
}

#[test]
fn openai_embeddings_of_wrong_count_are_refused() {
    let of = |index: usize, vector: Value| json!({"index": index, "embedding": vector});
    let good = of(0, json!([1.0]));
    for data in [
        json!([]),
        json!([good, of(0, json!([1.0]))]),
        json!([good, of(2, json!([1.0]))]),
        json!([good, of(1, json!("AACAP"))]),
        json!([good, of(1, json!("AACAPwA="))]),
        json!([good, of(1, json!([null]))]),
        json!([good, {"index": 1}]),
        json!([good, of(1, json!([1])), of(2, json!([1]))]),
    ] {
        let body = json!({"data": data, "usage": {"prompt_tokens": 2}}).to_string();
        let error = decode_embeddings(body.as_bytes(), 2).unwrap_err();
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Malformed, Charge::Known(Usage::new(2, 0))), "{body}");
    }
}
