//! Property tests of the codecs: they panic on no input, and different requests are sent differently.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use llm_providers::llm_core::{ChatRequest, Message, Part, Role};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::streaming::{Canned, block_on, play};

use crate::codec::openai::{ChunkDecoder, Dialect, classify, decode_chat, decode_embeddings, encode_chat};

/// Generates JSON from the words that the codecs recognise.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
        Just(json!("stop")),
        Just(json!("text")),
    ];
    let names = prop::sample::select(vec![
        "id",
        "model",
        "choices",
        "index",
        "message",
        "delta",
        "content",
        "role",
        "refusal",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "finish_reason",
        "usage",
        "prompt_tokens",
        "completion_tokens",
        "error",
        "code",
        "type",
        "text",
        "data",
        "embedding",
        "thinking",
        "x_groq",
        "custom",
        "logprobs",
        "prompt_tokens_details",
    ]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Value>()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn openai_decodes_any_bytes_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_chat(&bytes);
        let _ = decode_embeddings(&bytes, 1);
        let _ = classify(StatusCode::BAD_REQUEST, &HeaderMap::new(), &bytes, std::time::UNIX_EPOCH, Some("key-1"));
        let _ = block_on(play(Canned::events([Bytes::from(bytes)])));
    }

    #[test]
    fn openai_decodes_any_json_without_panic(values in prop::collection::vec(value(), 1..5), inputs in 0usize..3) {
        let mut chunks = ChunkDecoder::default();
        for value in &values {
            let text = value.to_string();
            let _ = decode_chat(text.as_bytes());
            let _ = decode_embeddings(text.as_bytes(), inputs);
            let _ = classify(StatusCode::OK, &HeaderMap::new(), text.as_bytes(), std::time::UNIX_EPOCH, None);
            let _ = chunks.decode(&text);
            let _ = chunks.decode(&json!({"choices": [value]}).to_string());
            let _ = chunks.decode(&json!({"choices": [{"delta": value}]}).to_string());
        }
        let _ = chunks.finish();
    }

    #[test]
    fn openai_encodes_different_conversations_differently(a in conversation(), b in conversation()) {
        let sent = |request: &ChatRequest| encode_chat(request, Dialect::default(), false).unwrap();
        // Instructions without content are not sent.
        let has_content = |message: &&Message| {
            message.role != Role::System || message.parts.iter().any(|part| *part != Part::text(""))
        };
        let kept = |request: &ChatRequest| {
            (request.messages.iter().filter(has_content).cloned().collect::<Vec<_>>(), request.sampling.seed)
        };
        prop_assert_eq!(kept(&a) == kept(&b), sent(&a) == sent(&b));
    }
}

fn conversation() -> impl Strategy<Value = ChatRequest> {
    let role = prop::sample::select(vec![Role::System, Role::User, Role::Assistant]);
    let text = prop::sample::select(vec!["", "a", "\"", "\\\"", "a\n"]);
    let message = (role, prop::collection::vec(text, 1..3))
        .prop_map(|(role, texts)| Message::new(role, texts.into_iter().map(Part::text).collect()));
    (prop::collection::vec(message, 1..3), prop::option::of(0u32..2)).prop_map(|(messages, seed)| {
        let mut request = messages.into_iter().fold(ChatRequest::new("m"), ChatRequest::message);
        request.sampling.seed = seed.map(i64::from);
        request
    })
}
