//! Property tests of Anthropic's codec: it panics on no input, and a stream keeps every piece.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    anthropic::stream::play,
    streaming::{Canned, block_on},
};

use crate::codec::anthropic::{EventDecoder, classify, decode_chat, decode_count, decode_models};

/// Generates JSON from the words that the codec recognises.
fn value() -> impl Strategy<Value = Value> {
    const WORDS: [&str; 14] = [
        "text",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "text_delta",
        "thinking_delta",
        "end_turn",
        "input_json_delta",
        "signature_delta",
        "citations_delta",
        "",
        "{",
        "{}",
        "error",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(&WORDS[..]).prop_map(Value::from),
    ];
    let names = prop::sample::select(
        &[
            "id",
            "model",
            "content",
            "type",
            "text",
            "thinking",
            "signature",
            "data",
            "name",
            "input",
            "usage",
            "citations",
            "citation",
            "input_tokens",
            "output_tokens",
            "cache_creation",
            "cache_creation_input_tokens",
            "stop_reason",
            "ephemeral_1h_input_tokens",
            "stop_details",
            "error",
            "details",
            "error_code",
            "message",
            "partial_json",
            "index",
        ][..],
    );
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Value>()),
        ]
    })
}

fn event() -> impl Strategy<Value = Value> {
    (0u32..2, value(), 0u8..6).prop_map(|(index, value, kind)| match kind {
        0 => json!({"type": "message_start", "message": value}),
        1 => json!({"type": "content_block_start", "index": index, "content_block": value}),
        2 => json!({"type": "content_block_delta", "index": index, "delta": value}),
        3 => json!({"type": "content_block_stop", "index": index}),
        4 => json!({"type": "message_delta", "delta": value.clone(), "usage": value}),
        _ => json!({"type": "error", "error": value}),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn anthropic_decodes_any_bytes_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (decode_chat(&bytes), decode_count(&bytes), decode_models(&bytes));
        let _ = classify(StatusCode::BAD_REQUEST, &HeaderMap::new(), &bytes, std::time::UNIX_EPOCH, Some("key-1"));
        let _ = block_on(play(Canned::events([Bytes::from(bytes)])));
    }

    #[test]
    fn anthropic_decodes_any_json_without_panic(value in value()) {
        let text = json!({"content": value, "usage": value, "data": [value], "error": value}).to_string();
        let _ = (decode_chat(text.as_bytes()), decode_count(text.as_bytes()), decode_models(text.as_bytes()));
        let text = json!({"error": value}).to_string();
        let _ = classify(StatusCode::OK, &HeaderMap::new(), text.as_bytes(), std::time::UNIX_EPOCH, None);
    }

    #[test]
    fn anthropic_decodes_any_events_without_panic(events in prop::collection::vec(event(), 1..12)) {
        let mut decoder = EventDecoder::default();
        for event in &events {
            let _ = decoder.decode(&event.to_string());
        }
        let _ = decoder.finish();
        let stopped = decoder.decode(&json!({"type": "message_stop"}).to_string());
        prop_assert_eq!(stopped.err().map(|error| error.to_string()), None);
        prop_assert!(decoder.is_done());
    }

    #[test]
    fn anthropic_stream_keeps_number_of_blocks(kinds in prop::collection::vec((0u8..3, "[a-c]{0,2}"), 0..6)) {
        let mut decoder = EventDecoder::default();
        let (mut events, mut content) = (Vec::new(), Vec::new());
        for ((kind, text), index) in kinds.iter().zip(0u32..) {
            let (block, delta) = match kind {
                0 => (json!({"type": "text", "text": ""}), json!({"type": "text_delta", "text": text})),
                1 => (json!({"type": "thinking", "thinking": ""}), json!({"type": "thinking_delta", "thinking": text})),
                _ => (json!({"type": "song"}), json!({"type": "song_delta", "song": text})),
            };
            content.push(match kind {
                0 => json!({"type": "text", "text": text}),
                1 => json!({"type": "thinking", "thinking": text}),
                _ => json!({"type": "song", "song": text}),
            });
            events.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
            events.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
            events.push(json!({"type": "content_block_stop", "index": index}));
        }
        events.push(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}));
        events.push(json!({"type": "message_stop"}));
        let mut pieces = Vec::new();
        for event in &events {
            pieces.extend(decoder.decode(&event.to_string()).unwrap().into_iter().map(Ok));
        }
        let stream = llm_providers::llm_core::ChatStream::new(futures_util::stream::iter(pieces));
        let streamed = block_on(stream.complete()).unwrap();
        let unary = decode_chat(json!({"content": content, "stop_reason": "end_turn"}).to_string().as_bytes()).unwrap();
        prop_assert_eq!(&streamed.choices, &unary.output.choices);
    }
}
