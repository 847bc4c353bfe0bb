//! Tests of every documented form of Anthropic's streams, with events written for these tests and cut at every
//! position.

use bytes::Bytes;
use llm_providers::{
    Anthropic,
    llm_core::{Charge, ChatEvent, ChatResponse, Error, ErrorKind, FinishReason, Part, Provider, Usage},
};
use serde_json::{Value, json};

use crate::streaming::{Canned, Read, block_on, question, read, seams};

use crate::codec::anthropic::{EventDecoder, decode_chat};

/// Requests a stream and reads it. An error before the stream begins is returned as the result.
pub(crate) async fn play(canned: Canned) -> Result<Read, Error> {
    let reply = Anthropic::with_transport("sk-ant-test", canned)?.chat_stream(question()).await?;
    Ok(read(reply.output, reply.receipt).await)
}

/// Returns events in the vendor's framing.
pub(crate) fn bytes(events: &[Value]) -> String {
    let framed = events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()));
    framed.collect()
}

fn whole(text: impl Into<Bytes>) -> Read {
    block_on(play(Canned::events([text.into()]))).unwrap()
}

fn response(events: &[Value]) -> ChatResponse {
    let read = whole(bytes(events));
    read.response.unwrap_or_else(|| panic!("{:?}", read.error))
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m-1",
        "content": [], "stop_reason": null, "stop_sequence": null, "stop_details": null, "usage": {"input_tokens": 7,
            "cache_creation_input_tokens": 30, "cache_read_input_tokens": 100, "output_tokens": 1,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            "service_tier": "standard", "inference_geo": "eu"}}})
}

fn open(index: u32, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn piece(index: u32, kind: &str, field: &str, value: impl Into<Value>) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": {"type": kind, field: value.into()}})
}

fn close(index: u32) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn end(reason: &str, output: u64) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null},
        "usage": {"output_tokens": output}})
}

fn stop() -> Value {
    json!({"type": "message_stop"})
}

fn text(index: u32, pieces: &[&str]) -> Vec<Value> {
    let mut events = vec![open(index, json!({"type": "text", "text": ""}))];
    events.extend(pieces.iter().map(|text| piece(index, "text_delta", "text", *text)));
    events.push(close(index));
    events
}

fn typical() -> Vec<Value> {
    let mut events = vec![start(), json!({"type": "ping"})];
    events.extend(text(0, &["Año ", "漢🦀"]));
    events.extend([end("end_turn", 9), stop()]);
    events
}

/// Returns events with reasoning, hidden reasoning, text with citations, two consecutive texts, two tool calls, and one
/// of the vendor's own tools.
fn rich() -> Vec<Value> {
    let mut events = vec![start(), open(0, json!({"type": "thinking", "thinking": "", "signature": ""}))];
    events.extend([
        piece(0, "thinking_delta", "thinking", "2 and"),
        piece(0, "thinking_delta", "thinking", " 2"),
        piece(0, "signature_delta", "signature", "c2ln/+="),
        close(0),
        open(1, json!({"type": "redacted_thinking", "data": "aGlk"})),
        close(1),
        open(2, json!({"type": "thinking", "thinking": "", "signature": ""})),
        piece(2, "signature_delta", "signature", "hidden"),
        close(2),
        open(3, json!({"type": "text", "text": "", "citations": []})),
        piece(3, "citations_delta", "citation", json!({"cited_text": "x"})),
        piece(3, "text_delta", "text", "4"),
        piece(3, "citations_delta", "citation", json!({"cited_text": "y"})),
        close(3),
    ]);
    events.extend(text(4, &["a"]));
    events.extend(text(5, &[""]));
    events.extend(text(6, &["b", "c"]));
    events.extend([
        open(7, json!({"type": "tool_use", "id": "t1", "name": "f", "input": {}, "caller": {"type": "direct"}})),
        piece(7, "input_json_delta", "partial_json", ""),
        piece(7, "input_json_delta", "partial_json", "{\"x\": \"é"),
        piece(7, "input_json_delta", "partial_json", "\"}"),
        close(7),
        open(8, json!({"type": "tool_use", "id": "t2", "name": "g", "input": {}})),
        close(8),
        open(9, json!({"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}})),
        piece(9, "input_json_delta", "partial_json", "{\"query\": "),
        piece(9, "input_json_delta", "partial_json", "\"q\"}"),
        close(9),
        open(10, json!({"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"url": "u"}]})),
        close(10),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null,
            "container": {"id": "c"}}, "usage": {"input_tokens": 8, "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 30, "output_tokens": 50, "output_tokens_details": {"thinking_tokens": 20},
            "server_tool_use": {"web_search_requests": 1}}}),
        stop(),
    ]);
    events
}

/// Returns the same content as one response.
pub(crate) fn rich_whole() -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m-1", "content": [
        {"type": "thinking", "thinking": "2 and 2", "signature": "c2ln/+="},
        {"type": "redacted_thinking", "data": "aGlk"},
        {"type": "thinking", "thinking": "", "signature": "hidden"},
        {"type": "text", "text": "4", "citations": [{"cited_text": "x"}, {"cited_text": "y"}]},
        {"type": "text", "text": "a", "citations": null},
        {"type": "text", "text": ""},
        {"type": "text", "text": "bc"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": "é"}, "caller": {"type": "direct"}},
        {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"url": "u"}]},
    ], "stop_reason": "tool_use", "stop_sequence": null, "container": {"id": "c"},
        "usage": {"input_tokens": 8, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 100,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            "output_tokens": 50, "output_tokens_details": {"thinking_tokens": 20},
            "server_tool_use": {"web_search_requests": 1}, "service_tier": "standard", "inference_geo": "eu"}})
}

/// Removes the spaces in tool arguments, because a stream keeps those that the model wrote.
fn compact(mut response: ChatResponse) -> ChatResponse {
    for part in response.choices.iter_mut().flat_map(|choice| &mut choice.parts) {
        if let Part::ToolCall(call) = part {
            call.arguments = call.parse::<Value>().unwrap().to_string().into();
        }
    }
    response
}

#[test]
fn anthropic_stream_equals_unary_response() {
    let unary = decode_chat(rich_whole().to_string().as_bytes()).unwrap();
    let read = whole(bytes(&rich()));
    let response = read.response.unwrap();
    assert_eq!(response.tool_calls().next().unwrap().arguments.as_ref(), "{\"x\": \"é\"}");
    assert_eq!(compact(response), unary.output);
    let usage = Usage { cache_read: 100, cache_write: 10, cache_write_long: 20, ..Usage::new(138, 50) };
    let usage = Usage { reasoning: 20, searches: 1, ..usage };
    assert_eq!((read.receipt.usage(), unary.usage), (Some(usage), Some(usage)));
    let accounting = read.receipt.accounting();
    assert_eq!((accounting.service_tier.as_deref(), accounting.model.as_deref()), (Some("standard"), Some("m-1")));
    assert_eq!(accounting.provider.as_deref(), Some("anthropic"));
    assert_eq!((accounting.surcharges, unary.surcharges), (vec!["eu".into()], vec!["eu".into()]));
}

#[test]
fn anthropic_stream_gives_text_immediately() {
    let read = whole(bytes(&typical()));
    let texts = read.events.iter().filter_map(|event| match event {
        ChatEvent::Text { text, .. } => Some(&**text),
        _ => None,
    });
    assert_eq!(texts.collect::<Vec<_>>(), ["Año ", "漢🦀"]);
}

#[test]
fn anthropic_stream_reads_any_byte_splits() {
    for (name, separator) in [("LF", "\n"), ("CR", "\r"), ("CRLF", "\r\n")] {
        let text = format!("\u{feff}: waiting\n\n{}", bytes(&typical())).replace('\n', separator);
        let text = Bytes::from(text);
        let expected = whole(text.clone());
        assert_eq!(expected.response.as_ref().unwrap().text(), "Año 漢🦀", "{name}");
        block_on(async {
            // Within lines, the result does not depend on the separator.
            let places: Vec<_> = if separator == "\n" { (0..text.len()).collect() } else { seams(&text).collect() };
            for at in places {
                let read = play(Canned::events([text.slice(..at), text.slice(at..)])).await.unwrap();
                assert_eq!(read.events, expected.events, "{name} at {at}");
            }
        });
        let bytes = (0..text.len()).map(|at| text.slice(at..=at));
        assert_eq!(block_on(play(Canned::events(bytes))).unwrap().events, expected.events, "{name}");
    }
    let rich = Bytes::from(bytes(&rich()));
    let bytes = (0..rich.len()).map(|at| rich.slice(at..=at));
    assert_eq!(block_on(play(Canned::events(bytes))).unwrap().events, whole(rich.clone()).events);
}

#[test]
fn anthropic_stream_reads_multiline_data_and_comments() {
    let text = bytes(&typical()).replace(",\"usage\"", "\ndata: ,\"usage\"").replace("}\n\n", "}      \n: alive\n\n");
    let read = whole(text);
    assert_eq!(read.response.unwrap(), response(&typical()));
}

#[test]
fn anthropic_stream_broken_states_known_usage() {
    let events = typical();
    for stated in 1..events.len() - 2 {
        let (error, accounting) = match block_on(play(Canned::events([bytes(&events[..stated])]))) {
            Ok(read) => (read.error.unwrap(), read.receipt.accounting()),
            // The stream ended before any content.
            Err(error) => (error.clone(), error.accounting().unwrap().clone()),
        };
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Incomplete, Charge::Unknown), "after {stated}");
        assert_eq!(accounting.usage, None);
        let known = Usage { cache_read: 100, cache_write: 10, cache_write_long: 20, ..Usage::new(137, 1) };
        assert_eq!(accounting.usage_so_far, Some(known), "after {stated}");
    }
    // The finish reason and the usage have arrived, so only the end mark is missing. The same holds if the last line is
    // not terminated.
    let marked = bytes(&events);
    for text in [bytes(&events[..events.len() - 1]), marked.trim_end().to_owned()] {
        let read = whole(text);
        assert_eq!(read.response.unwrap(), response(&events));
        assert_eq!(read.receipt.usage().map(|usage| usage.output), Some(9));
    }
    let broken = block_on(play(Canned::events([bytes(&events[..4])]).broken())).unwrap();
    assert_eq!(broken.error.unwrap().charge(), Charge::Unknown);
    let after = block_on(play(Canned::events([marked]).broken())).unwrap();
    assert!(after.response.is_some() && after.error.is_none());
}

#[test]
fn anthropic_stream_ends_at_error() {
    let error = |kind: &str| json!({"type": "error", "error": {"type": kind, "message": "no"}});
    for (kind, expected, charge) in [
        ("overloaded_error", ErrorKind::Overloaded, Charge::None),
        ("rate_limit_error", ErrorKind::RateLimited, Charge::None),
        ("invalid_request_error", ErrorKind::InvalidRequest, Charge::None),
        ("billing_error", ErrorKind::QuotaExhausted, Charge::None),
        ("api_error", ErrorKind::Server, Charge::Unknown),
        ("timeout_error", ErrorKind::Timeout, Charge::Unknown),
        ("error_of_next_year", ErrorKind::Server, Charge::Unknown),
    ] {
        let head = block_on(play(Canned::events([bytes(&[error(kind)])]))).unwrap_err();
        assert_eq!((head.kind(), head.charge(), head.code()), (expected, charge, Some(kind)));
        let mut events = typical()[..4].to_vec();
        events.extend([error(kind), end("end_turn", 9), stop()]);
        let read = whole(bytes(&events));
        let stated = read.error.unwrap();
        assert_eq!((stated.kind(), stated.message(), stated.charge()), (expected, "no", Charge::Unknown), "{kind}");
        assert!(read.response.is_none() && read.receipt.usage().is_none());
    }
}

#[test]
fn anthropic_stream_ignores_repeated_or_late_events() {
    let mut events = typical();
    events.insert(6, end("end_turn", 9));
    events.extend([end("max_tokens", 99), stop(), json!({"type": "error", "error": {"type": "api_error"}})]);
    let read = whole(bytes(&events));
    let finishes = read.events.iter().filter(|event| matches!(event, ChatEvent::Finish { .. })).count();
    assert_eq!((finishes, read.receipt.usage().unwrap().output), (1, 9));
    assert_eq!(read.response.unwrap(), response(&typical()));
    let twice = [start(), start()];
    assert_eq!(block_on(play(Canned::events([bytes(&twice)]))).unwrap_err().kind(), ErrorKind::Malformed);
}

#[test]
fn anthropic_stream_usage_is_latest() {
    let mut events = typical();
    events.insert(6, json!({"type": "message_delta", "delta": {"stop_reason": null}, "usage": {"output_tokens": 4}}));
    events.insert(
        7,
        json!({"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details":
        {"type": "refusal", "category": "cyber"}}, "usage": {"output_tokens": 6, "input_tokens": 17}}),
    );
    let read = whole(bytes(&events));
    assert_eq!(read.receipt.usage().map(|usage| (usage.input, usage.output)), Some((147, 9)));
    let response = read.response.unwrap();
    assert_eq!(response.choices[0].extra.get("stop_details").unwrap()["category"], "cyber");
}

#[test]
fn anthropic_stream_keeps_or_skips_unknown_kinds() {
    let events = [
        start(),
        json!({"type": "news_of_next_year", "x": 1}),
        open(0, json!({"type": "text", "text": "a"})),
        piece(0, "mood_delta", "mood", "calm"),
        piece(0, "text_delta", "text", "b"),
        close(0),
        open(1, json!({"type": "song", "notes": "do"})),
        piece(1, "notes_delta", "notes", " re"),
        // The block has no end of its own; the end of the message ends it.
        end("pause_turn", 2),
        stop(),
    ];
    let response = response(&events);
    let choice = &response.choices[0];
    assert_eq!(choice.parts[0], Part::text("ab").with_extra("mood", "calm"));
    assert_eq!(choice.parts[1], Part::Other { value: json!({"type": "song", "notes": "do re"}).into() });
    assert_eq!(choice.finish, FinishReason::Other("pause_turn".into()));
}

#[test]
fn anthropic_stream_invalid_events_are_malformed() {
    for (data, why) in [
        ("nonsense", "not JSON"),
        ("[1]", "not an object"),
        (r#"{"type":"content_block_start","index":0}"#, "no content_block"),
        (r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}"#, "no open block"),
        (r#"{"type":"content_block_delta","index":0}"#, "no delta"),
    ] {
        let error = EventDecoder::default().decode(data).unwrap_err();
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Malformed, Charge::Unknown), "{error}");
        assert!(error.message().contains(why), "{error}");
    }
    let mut decoder = EventDecoder::default();
    decoder.decode(&open(0, json!({"type": "text", "text": ""})).to_string()).unwrap();
    let odd = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":3}}"#;
    assert!(decoder.decode(odd).unwrap_err().message().contains("no text"));
    let page = block_on(play(Canned::response("text/html", ["<!DOCTYPE html><html></html>"]))).unwrap_err();
    assert_eq!(page.kind(), ErrorKind::Malformed);
    let mut split = bytes(&typical()[..4]).into_bytes();
    split.extend_from_slice(b"data: {\"a\": \"\xff\"}\n\n");
    assert_eq!(whole(split).error.unwrap().kind(), ErrorKind::Malformed);
}
