//! Tests of the work of decoding hostile streams: allocations grow linearly with the input.

use llm_providers::llm_core::{ChatEvent, ChatStream};
use serde_json::{Value, json};

use crate::streaming::block_on;

use crate::codec::anthropic::EventDecoder;
use crate::codec::gemini::{ChunkDecoder, decode_chat};

/// Returns the total number of bytes allocated while a stream of `pieces` pieces is read and assembled.
fn allocated(pieces: u32, run: impl Fn(u32) -> Vec<ChatEvent>) -> u64 {
    let info = allocation_counter::measure(|| {
        let events = run(pieces).into_iter().map(Ok);
        block_on(ChatStream::new(futures_util::stream::iter(events)).complete()).unwrap();
    });
    info.bytes_total
}

/// Asserts that eight times as many pieces need at most about eight times the work. Quadratic work would be 64 times as
/// much.
fn grows_as_its_input(name: &str, run: impl Fn(u32) -> Vec<ChatEvent>) {
    let (few, many) = (allocated(100, &run), allocated(800, &run));
    assert!(many < few * 12, "{name}: {few} bytes for 100 pieces, {many} for 800");
}

fn anthropic(pieces: u32, piece: impl Fn(u32) -> Vec<Value>) -> Vec<ChatEvent> {
    let mut decoder = EventDecoder::default();
    let start = json!({"type": "message_start", "message": {"id": "1", "model": "m", "content": [],
        "usage": {"input_tokens": 1, "output_tokens": 1, "odd": vec!["x"; 1_000]}}});
    let end = [json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}), json!({"type": "message_stop"})];
    let all = std::iter::once(start).chain((0..pieces).flat_map(piece)).chain(end);
    all.flat_map(|event| decoder.decode(&event.to_string()).unwrap()).collect()
}

fn open(index: u32, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u32, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

/// Returns the events of one block in pieces, after the event that opens it.
fn in_one_block(pieces: u32, block: &Value, piece: &Value) -> Vec<ChatEvent> {
    anthropic(pieces, |at| {
        let begin = (at == 0).then(|| open(0, block.clone()));
        begin.into_iter().chain([delta(0, piece.clone())]).collect()
    })
}

#[test]
fn decoding_work_of_anthropic_stream_is_linear() {
    let blocks = [
        ("text", json!({"type": "text", "text": ""}), json!({"type": "text_delta", "text": "a"})),
        ("thinking", json!({"type": "thinking", "thinking": ""}), json!({"type": "thinking_delta", "thinking": "a"})),
        ("seals", json!({"type": "thinking", "thinking": ""}), json!({"type": "signature_delta", "signature": "a"})),
        ("citations", json!({"type": "text", "text": "a"}), json!({"type": "citations_delta", "citation": {"a": 1}})),
        ("unknown fields", json!({"type": "text", "text": "a"}), json!({"type": "odd_delta", "odd": "a"})),
        (
            "the vendor's own tools",
            json!({"type": "server_tool_use"}),
            json!({"type": "input_json_delta", "partial_json": "1"}),
        ),
    ];
    for (name, block, piece) in blocks {
        grows_as_its_input(name, |pieces| in_one_block(pieces, &block, &piece));
    }
    grows_as_its_input("blocks", |pieces| {
        anthropic(pieces, |at| {
            vec![open(at, json!({"type": "text", "text": "a"})), delta(at, json!({"type": "text_delta", "text": "b"}))]
        })
    });
    grows_as_its_input("calls", |pieces| {
        anthropic(pieces, |at| vec![open(at, json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}))])
    });
    grows_as_its_input("usages", |pieces| {
        anthropic(pieces, |at| vec![json!({"type": "message_delta", "delta": {}, "usage": {"output_tokens": at}})])
    });
    grows_as_its_input("fields of the usage", |pieces| {
        anthropic(pieces, |at| vec![json!({"type": "message_delta", "delta": {}, "usage": {format!("f{at}"): at}})])
    });
}

fn gemini(pieces: u32, candidate: impl Fn(u32) -> Value) -> Vec<ChatEvent> {
    let mut decoder = ChunkDecoder::default();
    let mut events = Vec::new();
    for at in 0..pieces {
        let mut candidate = candidate(at);
        candidate["finishReason"] = json!("STOP");
        let usage = json!({"promptTokenCount": at + 1, format!("f{at}"): 1});
        events.extend(decoder.decode(&json!({"candidates": [candidate], "usageMetadata": usage}).to_string()).unwrap());
        assert_eq!(decoder.usage().map(|usage| usage.input), Some(u64::from(at) + 1));
    }
    events.extend(decoder.finish().unwrap());
    events
}

fn part(part: Value) -> Value {
    json!({"content": {"parts": [part]}, "index": 0})
}

#[test]
fn decoding_work_of_gemini_stream_is_linear() {
    grows_as_its_input("text", |pieces| gemini(pieces, |_| part(json!({"text": "a"}))));
    grows_as_its_input("thoughts", |pieces| gemini(pieces, |_| part(json!({"text": "a", "thought": true}))));
    grows_as_its_input("seals", |pieces| gemini(pieces, |_| part(json!({"text": "a", "thoughtSignature": "S"}))));
    grows_as_its_input("calls", |pieces| gemini(pieces, |_| part(json!({"functionCall": {"name": "f", "args": {}}}))));
    grows_as_its_input("candidates", |pieces| gemini(pieces, |at| json!({"index": at})));
    grows_as_its_input("citations", |pieces| {
        gemini(pieces, |at| json!({"index": 0, "citationMetadata": {"citationSources": [{"startIndex": at}]}}))
    });
    grows_as_its_input("searches", |pieces| {
        gemini(pieces, |at| json!({"index": 0, "groundingMetadata": {"webSearchQueries": [at.to_string()]}}))
    });
}

#[test]
fn decoding_work_of_gemini_candidates_is_linear() {
    let whole = |pieces: u32| {
        let candidate = json!({"index": 0, "content": {"parts": [{"text": "a"}]}, "safetyRatings": [1]});
        let body = json!({"candidates": vec![candidate; pieces as usize]}).to_string();
        allocation_counter::measure(|| drop(decode_chat(body.as_bytes()).unwrap())).bytes_total
    };
    let (few, many) = (whole(250), whole(2_000));
    assert!(many < few * 12, "{few} bytes for 250 candidates, {many} for 2,000");
}
