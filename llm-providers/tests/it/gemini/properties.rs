//! Property tests of the codec: it panics on no input, and the pieces of a stream make the complete response.

use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use llm_providers::{
    Gemini,
    llm_core::{ChatRequest, Message},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::streaming::{Canned, block_on, play_to};

use crate::codec::gemini::{
    ChunkDecoder, Dialect, classify, decode_chat, decode_count, decode_embeddings, decode_models, encode_chat,
};

/// Generates JSON from the words that the codec recognises.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
        Just(json!("STOP")),
        Just(json!("image/png")),
        Just(json!("AUDIO")),
    ];
    let names = prop::sample::select(vec![
        "responseId",
        "modelVersion",
        "candidates",
        "index",
        "content",
        "parts",
        "text",
        "thought",
        "thoughtSignature",
        "functionCall",
        "name",
        "args",
        "id",
        "inlineData",
        "mimeType",
        "data",
        "finishReason",
        "safetyRatings",
        "promptFeedback",
        "blockReason",
        "usageMetadata",
        "promptTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        "promptTokensDetails",
        "modality",
        "tokenCount",
        "error",
        "code",
        "status",
        "details",
        "@type",
        "violations",
        "embeddings",
        "values",
        "models",
    ]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Value>()),
        ]
    })
}

fn try_all(bytes: &[u8]) {
    let _ = decode_chat(bytes);
    let _ = decode_embeddings(bytes, 1);
    let _ = decode_count(bytes);
    let _ = decode_models(bytes);
    let _ = classify(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), bytes, UNIX_EPOCH, Some("key-1"));
}

/// Generates a part of a response as the vendor writes it. Adjacent parts that a stream would join are kept apart.
fn part() -> impl Strategy<Value = Value> {
    let text = "[a-zé ]{1,8}";
    let signature = "[A-Z]{1,4}";
    prop_oneof![
        text.prop_map(|text| json!({"text": text})),
        text.prop_map(|text| json!({"text": text, "thought": true})),
        (text, signature).prop_map(|(text, signature)| json!({"text": text, "thoughtSignature": signature})),
        (text, signature)
            .prop_map(|(text, signature)| json!({"text": text, "thought": true, "thoughtSignature": signature})),
        signature.prop_map(|signature| json!({"text": "", "thoughtSignature": signature})),
        text.prop_map(|name| json!({"functionCall": {"name": name, "args": {"a": 1}}})),
        signature.prop_map(
            |signature| json!({"functionCall": {"id": "c", "name": "f", "args": {}}, "thoughtSignature": signature})
        ),
        Just(json!({"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thoughtSignature": "S"})),
        Just(json!({"codeExecutionResult": {"outcome": "OUTCOME_OK"}})),
    ]
}

fn parts() -> impl Strategy<Value = Vec<Value>> {
    let flows = |a: &Value, b: &Value| {
        let plain = |part: &Value| part.get("text").is_some() && part.get("thoughtSignature").is_none();
        plain(a) && plain(b) && a.get("thought") == b.get("thought")
    };
    prop::collection::vec(part(), 1..7).prop_map(move |mut parts| {
        parts.dedup_by(|b, a| flows(a, b));
        parts
    })
}

/// Returns the parts in pieces: each plain text is cut in two.
fn pieces(parts: &[Value]) -> Vec<Value> {
    let mut pieces = Vec::new();
    for part in parts {
        match part["text"].as_str().filter(|_| part.get("thoughtSignature").is_none()) {
            Some(text) => {
                let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
                for half in [&text[..middle], &text[middle..]] {
                    let mut piece = part.clone();
                    piece["text"] = json!(half);
                    pieces.push(piece);
                }
            }
            None => pieces.push(part.clone()),
        }
    }
    pieces
}

fn chunk(parts: &[Value], finish: Option<&str>) -> Value {
    let candidate = json!({"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": 0});
    json!({"responseId": "R", "modelVersion": "m", "candidates": [candidate], "usageMetadata": {"promptTokenCount": 1}})
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn gemini_decodes_any_bytes_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        try_all(&bytes);
        let client = Gemini::with_transport("key", Canned::events([Bytes::from(bytes)])).unwrap();
        let _ = block_on(play_to(&client));
    }

    #[test]
    fn gemini_decodes_any_json_without_panic(values in prop::collection::vec(value(), 1..5)) {
        let mut chunks = ChunkDecoder::default();
        for value in &values {
            for shape in [
                value.clone(),
                json!([value]),
                json!({"error": value}),
                json!({"error": {"details": [value]}}),
                json!({"usageMetadata": value}),
                json!({"candidates": [value]}),
                json!({"candidates": [{"content": {"parts": [value]}}]}),
                json!({"embeddings": [value]}),
                json!({"models": [value]}),
            ] {
                let text = shape.to_string();
                try_all(text.as_bytes());
                let _ = chunks.decode(&text);
            }
        }
        let _ = chunks.finish();
    }

    #[test]
    fn gemini_stream_equals_whole_and_round_trips(parts in parts()) {
        let whole = decode_chat(chunk(&parts, Some("STOP")).to_string().as_bytes()).unwrap();
        let mut chunks: Vec<_> = pieces(&parts).into_iter().map(|piece| chunk(&[piece], None)).collect();
        chunks.push(chunk(&[], Some("STOP")));
        let list = decode_chat(Value::from(chunks.clone()).to_string().as_bytes()).unwrap();
        prop_assert_eq!(&list, &whole);
        let events = chunks.iter().map(|chunk| format!("data: {chunk}\r\n\r\n"));
        let client = Gemini::with_transport("key", Canned::events(events)).unwrap();
        let streamed = block_on(play_to(&client)).unwrap();
        prop_assert_eq!(streamed.response.as_ref(), Some(&whole.output));
        let request = ChatRequest::new("m").user("x").message(Message::from(whole.output.choices[0].clone()));
        let sent: Value = serde_json::from_slice(&encode_chat(&request, Dialect::default()).unwrap()).unwrap();
        prop_assert_eq!(&sent["contents"][1]["parts"], &Value::from(parts));
    }
}
