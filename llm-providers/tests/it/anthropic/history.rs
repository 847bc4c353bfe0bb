//! Tests of conversations that are sent back to the vendor: signatures of each origin, ids, and all digits of a number.

use llm_providers::llm_core::{
    ChatEvent, ChatRequest, Error, ErrorKind, Extra, Message, Part, Role, ToolCall, chat::Reasoning,
};
use serde_json::{Value, json};

use crate::codec::anthropic::{EventDecoder, Options, decode_chat, encode_chat};

const DIGITS: &str = r#"{"n":123456789012345678901234567890,"d":0.12345678901234567890123456789}"#;

fn asking(parts: Vec<Part>) -> ChatRequest {
    ChatRequest::new("m").user("hi").message(Message::new(Role::Assistant, parts)).user("and?")
}

fn sent(request: &ChatRequest, options: Options) -> Result<Value, Error> {
    encode_chat(request, options, false).map(|body| serde_json::from_slice(&body).unwrap())
}

fn block(input: &str) -> String {
    format!(r#"{{"type": "tool_use", "id": "t", "name": "f", "input": {input}}}"#)
}

fn arguments(events: &[ChatEvent]) -> String {
    let pieces = events.iter().filter_map(|event| match event {
        ChatEvent::ToolArguments { fragment, .. } => Some(&**fragment),
        _ => None,
    });
    pieces.collect()
}

#[test]
fn anthropic_arguments_keep_digits() {
    let body = format!(r#"{{"content": [{}], "stop_reason": "tool_use"}}"#, block(DIGITS));
    let whole = decode_chat(body.as_bytes()).unwrap().output;
    assert_eq!(&*whole.tool_calls().next().unwrap().arguments, DIGITS);

    let mut at_once = EventDecoder::default();
    let begin = format!(r#"{{"type": "content_block_start", "index": 0, "content_block": {}}}"#, block(DIGITS));
    let mut events = at_once.decode(&begin).unwrap();
    events.extend(at_once.decode(r#"{"type": "content_block_stop", "index": 0}"#).unwrap());
    assert_eq!(arguments(&events), DIGITS);

    let mut pieces = EventDecoder::default();
    let begin = format!(r#"{{"type": "content_block_start", "index": 0, "content_block": {}}}"#, block("{}"));
    let mut events = pieces.decode(&begin).unwrap();
    for piece in [&DIGITS[..20], &DIGITS[20..]] {
        let delta = json!({"type": "input_json_delta", "partial_json": piece});
        events.extend(
            pieces.decode(&json!({"type": "content_block_delta", "index": 0, "delta": delta}).to_string()).unwrap(),
        );
    }
    assert_eq!(arguments(&events), DIGITS);

    let begun = format!(r#"{{"type": "message_start", "message": {{"content": [{}]}}}}"#, block(DIGITS));
    let events = EventDecoder::default().decode(&begun).unwrap();
    let stated = events.iter().find_map(|event| match event {
        ChatEvent::Part { part: Part::ToolCall(call), .. } => Some(call),
        _ => None,
    });
    assert_eq!(&*stated.unwrap().arguments, DIGITS);

    let parts = whole.choices.into_iter().next().unwrap().parts;
    let body = encode_chat(&asking(parts), Options::default(), false).unwrap();
    let text = std::str::from_utf8(&body).unwrap();
    assert!(text.contains(&format!(r#""input":{DIGITS}"#)), "{text}");
}

#[test]
fn anthropic_server_tool_input_is_unchanged() {
    let search = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q", "n": [1]}});
    let body = json!({"content": [search.clone()], "stop_reason": "end_turn"}).to_string();
    let parts = &decode_chat(body.as_bytes()).unwrap().output.choices[0].parts;
    assert_eq!(parts[..], [Part::Other { value: search.into() }]);
}

#[test]
fn cross_vendor_ids_to_anthropic_still_match() {
    let call = |id: &str| {
        let (id, name, arguments) = (id.into(), "f".into(), "{}".into());
        Part::ToolCall(ToolCall { id, name, arguments, ..ToolCall::default() })
    };
    let calls = vec![call("functions.f:0"), call("functions.f:1"), call("toolu_01-a")];
    let request = ChatRequest::new("m").user("hi").message(Message::new(Role::Assistant, calls));
    let request = ["functions.f:0", "functions.f:1", "toolu_01-a"]
        .into_iter()
        .fold(request, |request, id| request.message(Message::tool(id, "ok")));
    let body = sent(&request, Options::default()).unwrap();
    let ids = |turn: usize, name: &str| -> Vec<String> {
        let blocks = body["messages"][turn]["content"].as_array().unwrap();
        blocks.iter().map(|block| block[name].as_str().unwrap().to_owned()).collect()
    };
    let (called, answered) = (ids(1, "id"), ids(2, "tool_use_id"));
    assert_eq!(called, answered);
    assert!(called[0] != called[1] && called[2] == "toolu_01-a");
    let fits = |id: &String| !id.is_empty() && id.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c));
    assert!(called.iter().all(fits), "{called:?}");
}

#[test]
fn cross_vendor_history_to_anthropic_is_refused() {
    let mut signature = Extra::default();
    signature.insert("thoughtSignature", "S");
    let call = ToolCall { id: "t".into(), name: "f".into(), arguments: "{}".into(), extra: signature.clone() };
    let mut geminis = Reasoning { text: "hm".into(), signature: Some("S".into()), ..Reasoning::default() };
    geminis.extra.insert("thought", true);
    let text = json!({"type": "text", "text": "4"});
    let left = [
        (Part::Text { text: "4".into(), extra: signature }, "parts[0].extra.thoughtSignature", json!([text, text])),
        (
            Part::ToolCall(call),
            "parts[0].extra.thoughtSignature",
            json!([{"type": "tool_use", "id": "t", "name": "f", "input": {}}, text]),
        ),
        (Part::Reasoning(geminis), "parts[0], reasoning with a signature (thought)", json!("4")),
    ];
    for (part, stated, without) in left {
        let request = asking(vec![part, Part::text("4")]);
        let error = sent(&request, Options::default()).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.message().contains(stated), "{error}");
        let body = sent(&request, Options::default().approximate(true)).unwrap();
        assert_eq!(body["messages"][1]["content"], without);
    }
}

#[test]
fn cross_vendor_text_to_anthropic_is_kept() {
    let code = Part::Other { value: json!({"executableCode": {"code": "1"}}).into() };
    for approximate in [false, true] {
        let error = sent(&asking(vec![code.clone()]), Options::default().approximate(approximate)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
