//! Tests of function calls whose arguments arrive in pieces.

use llm_providers::llm_core::{ChatEvent, ChatRequest, ChatResponse, ChatStream, Error, FinishReason, Operation};
use serde_json::{Value, json};

use crate::streaming::block_on;

use crate::codec::gemini::{ChunkDecoder, decode_chat};

/// Returns the response that these function calls make, each in a chunk of its own.
fn streamed(calls: &[Value]) -> Result<ChatResponse, Error> {
    let mut decoder = ChunkDecoder::default();
    let mut events: Vec<ChatEvent> = Vec::new();
    for call in calls {
        let chunk = json!({"candidates": [{"content": {"parts": [{"functionCall": call}]}}], "responseId": "R"});
        events.extend(decoder.decode(&chunk.to_string())?);
    }
    let end = json!({"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}]});
    events.extend(decoder.decode(&end.to_string())?);
    events.extend(decoder.finish()?);
    block_on(ChatStream::new(futures_util::stream::iter(events.into_iter().map(Ok))).complete())
}

fn piece(path: &str, field: &str, value: impl Into<Value>) -> Value {
    json!({"partialArgs": [{"jsonPath": path, field: value.into(), "willContinue": true}], "willContinue": true})
}

fn arguments(response: &ChatResponse) -> Vec<(String, Value)> {
    response.tool_calls().map(|call| (call.name.to_string(), call.parse().unwrap_or(Value::Null))).collect()
}

#[test]
fn partial_args_are_joined() {
    let begin = json!({"name": "book", "id": "c1", "willContinue": true});
    let calls = [
        begin,
        piece("$.place", "stringValue", "New "),
        piece("$.place", "stringValue", "Delhi"),
        piece("$.stops[0].name", "stringValue", "A"),
        piece("$.stops[1]['zip code']", "numberValue", 7),
        piece("$[\"days\"]", "numberValue", 2.5),
        piece("$.fast", "boolValue", true),
        piece("$.note", "nullValue", "NULL_VALUE"),
        json!({"partialArgs": [{"jsonPath": "$.place"}], "willContinue": true}),
        json!({}),
        json!({"name": "next", "args": {"a": 1}}),
        json!({"name": "short", "partialArgs": [{"jsonPath": "$.x", "stringValue": "y"}]}),
    ];
    let response = streamed(&calls).unwrap();
    let booked = json!({"place": "New Delhi", "stops": [{"name": "A"}, {"zip code": 7}], "days": 2.5, "fast": true,
        "note": null});
    let expected = [("book", booked), ("next", json!({"a": 1})), ("short", json!({"x": "y"}))];
    assert_eq!(arguments(&response), expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(&*response.tool_calls().next().unwrap().id, "c1");
    assert!(ChatRequest::is_cacheable(&response));
}

#[test]
fn partial_args_broken_off_are_not_kept() {
    for calls in [
        vec![json!({"name": "f", "willContinue": true})],
        vec![json!({"name": "f", "willContinue": true}), piece("$.x", "stringValue", "y")],
    ] {
        let response = streamed(&calls).unwrap();
        assert_eq!((response.tool_calls().count(), ChatRequest::is_cacheable(&response)), (1, false), "{calls:?}");
    }
    let call = json!({"functionCall": {"name": "f", "willContinue": true}});
    let body = json!({"candidates": [{"content": {"parts": [call]}, "finishReason": "STOP"}]}).to_string();
    assert!(!ChatRequest::is_cacheable(&decode_chat(body.as_bytes()).unwrap().output));
}

#[test]
fn partial_args_without_path_are_refused() {
    let begin = json!({"name": "f", "willContinue": true});
    let deep = format!("${}", ".a".repeat(1_000));
    for path in ["", "x", "$", "$.x[", "$.x[y]", "$.x[100000]", "$['x", "$.x.y", &deep] {
        let calls = [begin.clone(), piece("$.x", "stringValue", "y"), piece(path, "stringValue", "z")];
        let error = streamed(&calls).unwrap_err();
        assert!(error.message().contains("partialArgs"), "{path}: {error}");
    }
    for calls in [
        vec![piece("$.x", "stringValue", "y")],
        vec![begin.clone(), json!({"name": "g", "args": {}})],
        vec![begin, json!({"name": "g", "willContinue": true})],
    ] {
        assert!(streamed(&calls).unwrap_err().message().contains("partialArgs"), "{calls:?}");
    }
}

#[test]
fn function_call_without_name_is_not_kept() {
    let parts = json!([{"functionCall": {"args": {"a": 1}}}, {"functionCall": {"name": "f", "args": {}}}]);
    let body = json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}).to_string();
    let response = decode_chat(body.as_bytes()).unwrap().output;
    assert_eq!(response.finish(), &FinishReason::Failed("MALFORMED_FUNCTION_CALL".into()));
    assert!(!ChatRequest::is_cacheable(&response));
}
