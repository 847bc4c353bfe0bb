use llm_core::Usd;
use serde_json::{Value, json};

use crate::{analysed, row};

/// Returns the number of equal requests among the lines.
fn repeated(lines: &[Value]) -> u64 {
    row(analysed(lines).lever("exact cache"), "no expiry").calls.expect("a count")
}

#[test]
fn request_equality_ignores_delivery_alone() {
    let body = |extra: Value| {
        let mut body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]});
        for (name, value) in extra.as_object().expect("an object") {
            body[name] = value.clone();
        }
        json!({"request": body})
    };
    let plain = body(json!({}));
    for same in [
        json!({"stream": true, "stream_options": {"include_usage": true}}),
        json!({"user": "u1", "metadata": {"a": "b"}, "store": true, "service_tier": "flex"}),
        json!({"prompt_cache_key": "k", "temperature": null}),
    ] {
        assert_eq!(repeated(&[plain.clone(), body(same.clone())]), 1, "{same}");
    }
    for other in [
        json!({"temperature": 0.5}),
        json!({"model": "gpt-4o"}),
        json!({"max_tokens": 5}),
        json!({"tools": [{"type": "function", "function": {"name": "f"}}]}),
        json!({"messages": [{"role": "system", "content": "hello"}]}),
        json!({"a_new_field": 1}),
    ] {
        assert_eq!(repeated(&[plain.clone(), body(other.clone())]), 0, "{other}");
    }
}

#[test]
fn formats_read_every_request_form() {
    let forms = [
        json!({"request": {"model": "gpt-4o-mini", "input": "hello", "instructions": "be brief"}}),
        json!({"request": {"model": "text-embedding-3-small", "input": ["a", "b"]}}),
        json!({"request": {"model": "claude-sonnet-4-5", "max_tokens": 5, "system": "be brief", "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}]}]}}),
        json!({"custom_id": "1", "method": "POST", "url": "/v1/chat/completions",
            "body": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}}),
        json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}),
        json!({"prompt": "hello again"}),
    ];
    let twice: Vec<Value> = forms.iter().chain(&forms).cloned().collect();
    let report = analysed(&twice);
    assert_eq!((report.log.calls, report.log.distinct), (12, 6), "{report}");
    assert!(report.log.skipped.is_empty());
}

#[test]
fn failed_calls_are_counted_apart() {
    let request = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]});
    let report = analysed(&[
        json!({"request": request, "status": 429}),
        json!({"request": request, "status": "503"}),
        json!({"request": request, "error": {"message": "overloaded"}}),
        json!({"request": request, "response": {"status_code": 500, "body": {}}}),
        json!({"request": request, "response": {"error": {"type": "overloaded_error"}}}),
        json!({"request": request, "response": {"error": null, "usage": {"prompt_tokens": 1, "completion_tokens": 1}}}),
    ]);
    assert_eq!((report.log.calls, report.log.failed, report.log.distinct), (6, 5, 1));
}

#[test]
fn stack_log_states_price_and_saving() {
    let line = |outcome: &str, origin: &str, saved: i64| {
        json!({"time": "2026-03-01T09:30:00Z", "tenant": "acme", "labels": {}, "model": "gpt-4o-mini", "outcome": outcome,
            "origin": origin, "input_tokens": 100, "output_tokens": 50, "paid_nano_usd": 45_000 - saved,
            "saved_nano_usd": saved, "list_nano_usd": 45_000})
    };
    let report = analysed(&[line("completed", "vendor", 0), line("answered", "cache", 45_000)]);
    assert_eq!(report.log.failed, 0, "earlier versions wrote `answered`");
    assert_eq!((report.log.spent, report.log.saved_already), (Usd::from_nanos(90_000), Usd::from_nanos(45_000)));
    assert!(report.lever("exact cache").rows().is_empty(), "without texts no request is known");
}

#[test]
fn unknown_model_is_named_not_guessed() {
    let line = json!({"request": {"model": "our-own", "messages": [{"role": "user", "content": "hello"}]},
        "response": {"usage": {"prompt_tokens": 1_000, "completion_tokens": 500}}});
    let report = analysed(&[line]);
    assert_eq!(report.log.unpriced["our-own"], 1);
    assert_eq!(report.log.spent, Usd::ZERO);
    assert!(report.to_string().contains("our-own: 1"));
}

#[test]
fn prompt_without_model_has_no_price() {
    let line = json!({"prompt": "hello", "input_tokens": 900, "output_tokens": 500});
    let report = analysed(&[line]);
    assert_eq!((report.log.spent, report.log.unpriced["none"]), (Usd::ZERO, 1));
}

#[test]
fn response_in_chunks_states_usage() {
    let request = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]});
    let chunks = json!([{"choices": [], "usage": null}, {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 5}}]);
    assert_eq!(analysed(&[json!({"request": request, "response": chunks})]).log.tokens, 105);
    let events = json!([
        {"type": "message_start", "message": {"usage": {"input_tokens": 20, "cache_read_input_tokens": 80, "output_tokens": 1}}},
        {"type": "content_block_delta"},
        {"type": "message_delta", "usage": {"output_tokens": 50}}]);
    assert_eq!(analysed(&[json!({"request": request, "response": events})]).log.tokens, 150);
    let events =
        json!([{"type": "response.completed", "response": {"usage": {"input_tokens": 7, "output_tokens": 2}}}]);
    assert_eq!(analysed(&[json!({"request": request, "response": events})]).log.tokens, 9);
}

#[test]
fn bodies_written_as_text_are_read() {
    let request = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]});
    let response = json!({"usage": {"prompt_tokens": 100, "completion_tokens": 5}});
    let stream = format!("event: x\ndata: {{\"choices\": []}}\n\ndata: {response}\n\ndata: [DONE]\n\n");
    let report = analysed(&[
        json!({"request": request, "response": response}),
        json!({"request": request.to_string(), "response": response.to_string()}),
        json!({"request": request, "response": stream}),
        json!({"request": {"body": request.to_string()}, "response": {"status_code": 200, "body": response.to_string()}}),
        json!({"request": request, "response": "hello to you"}),
    ]);
    assert_eq!((report.log.calls, report.log.distinct, report.log.tokens), (5, 1, 4 * 105 + 1), "{report}");
}
