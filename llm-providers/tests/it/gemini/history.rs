//! Tests of conversations that are sent back to the vendor: signatures of each origin, and all digits of a number.

use llm_providers::llm_core::{
    ChatEvent, ChatRequest, Error, ErrorKind, Extra, Message, Part, Role, ToolCall, chat::Reasoning,
};
use serde_json::{Value, json};

use crate::codec::gemini::{ChunkDecoder, Dialect, decode_chat, encode_chat};

const DIGITS: &str = r#"{"n":123456789012345678901234567890,"d":0.12345678901234567890123456789}"#;

fn asking(parts: Vec<Part>) -> ChatRequest {
    ChatRequest::new("m").user("hi").message(Message::new(Role::Assistant, parts)).user("and?")
}

fn sent(parts: Vec<Part>, dialect: Dialect) -> Result<Value, Error> {
    encode_chat(&asking(parts), dialect).map(|body| serde_json::from_slice(&body).unwrap())
}

fn response(args: &str) -> String {
    let call = format!(r#"{{"functionCall": {{"name": "f", "args": {args}}}}}"#);
    format!(r#"{{"candidates": [{{"content": {{"parts": [{call}]}}, "finishReason": "STOP"}}]}}"#)
}

#[test]
fn gemini_arguments_keep_digits() {
    let whole = decode_chat(response(DIGITS).as_bytes()).unwrap().output;
    assert_eq!(&*whole.tool_calls().next().unwrap().arguments, DIGITS);
    for data in [response(DIGITS), format!("[{}]", response(DIGITS))] {
        let events = ChunkDecoder::default().decode(&data).unwrap();
        let stated = events
            .iter()
            .any(|event| matches!(event, ChatEvent::ToolArguments { fragment, .. } if &**fragment == DIGITS));
        assert!(stated, "{events:?}");
    }
    let parts = whole.choices.into_iter().next().unwrap().parts;
    let body = encode_chat(&asking(parts), Dialect::default()).unwrap();
    let text = std::str::from_utf8(&body).unwrap();
    assert!(text.contains(&format!(r#""args":{DIGITS}"#)), "{text}");
}

#[test]
fn gemini_tool_results_keep_digits() {
    let call = ToolCall { id: "c".into(), name: "f".into(), arguments: "{}".into(), ..ToolCall::default() };
    let request = ChatRequest::new("m").user("hi").message(Message::new(Role::Assistant, vec![Part::ToolCall(call)]));
    let body = encode_chat(&request.message(Message::tool("c", DIGITS)), Dialect::default()).unwrap();
    let text = std::str::from_utf8(&body).unwrap();
    assert!(text.contains(&format!(r#""response":{DIGITS}"#)), "{text}");
}

#[test]
fn gemini_malformed_call_is_sent_unchanged() {
    let nameless = json!({"functionCall": {"args": {"a": [1]}}});
    let body = json!({"candidates": [{"content": {"parts": [nameless]}, "finishReason": "STOP"}]}).to_string();
    let parts = &decode_chat(body.as_bytes()).unwrap().output.choices[0].parts;
    assert_eq!(parts[..], [Part::Other { value: nameless.into() }]);
}

#[test]
fn gemini_signature_of_own_response_is_sent() {
    let parts = json!([{"text": "hm", "thought": true, "thoughtSignature": "S1"}, {"text": "yes", "thoughtSignature": "S2"},
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "S3"}]);
    let body = json!({"candidates": [{"content": {"parts": parts.clone()}, "finishReason": "STOP"}]}).to_string();
    let response = decode_chat(body.as_bytes()).unwrap().output;
    let back = sent(response.choices.into_iter().next().unwrap().parts, Dialect::default()).unwrap();
    assert_eq!(back["contents"][1]["parts"], parts);
}

#[test]
fn cross_vendor_history_to_gemini_is_refused() {
    let mut citations = Extra::default();
    citations.insert("citations", json!([{"cited_text": "x"}]));
    let mut caller = Extra::default();
    caller.insert("caller", json!({"type": "direct"}));
    let call = ToolCall { id: "t".into(), name: "f".into(), arguments: "{}".into(), extra: caller };
    let claudes = Reasoning { text: "hm".into(), signature: Some("c2ln".into()), ..Reasoning::default() };
    let left = [
        (Part::Text { text: "4".into(), extra: citations }, "parts[0].extra.citations", json!([{"text": "4"}])),
        (
            Part::ToolCall(call),
            "parts[0].extra.caller",
            json!([{"functionCall": {"id": "t", "name": "f", "args": {}}}]),
        ),
        (Part::Reasoning(claudes), "parts[0], reasoning with a signature (signature)", Value::Null),
    ];
    for (part, stated, without) in left {
        let error = sent(vec![part.clone()], Dialect::default()).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.message().contains(stated), "{error}");
        let body = sent(vec![part], Dialect { approximate: true, ..Dialect::default() }).unwrap();
        let turns: Vec<_> =
            body["contents"].as_array().unwrap().iter().filter(|turn| turn["role"] == "model").collect();
        assert_eq!(turns.first().map_or(&Value::Null, |turn| &turn["parts"]), &without, "no turn without parts");
    }
}

#[test]
fn cross_vendor_text_to_gemini_is_kept() {
    let search = Part::Other { value: json!({"type": "server_tool_use", "id": "s", "input": {}}).into() };
    for approximate in [false, true] {
        let error = sent(vec![search.clone()], Dialect { approximate, ..Dialect::default() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
