//! Tests of JSON with a byte order mark, and of characters that are split between escapes.

use llm_providers::{
    Anthropic, Gemini, OpenAi,
    llm_core::{Charge, Provider},
};

use crate::codec;
use crate::streaming::{Canned, block_on, play_to};

/// Returns the texts of streams in every format. Their pieces contain `texts`, which are JSON strings without the
/// quotes.
fn streamed(texts: &[&str], mark: &str) -> [String; 3] {
    let join = |events: Vec<String>| events.iter().map(|event| format!("data: {mark}{event}\n\n")).collect::<String>();
    let mut openai: Vec<_> =
        texts.iter().map(|text| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#)).collect();
    openai.push(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.to_owned());
    let mut claude = vec![
        r#"{"type":"message_start","message":{"content":[],"usage":{"input_tokens":1,"output_tokens":1}}}"#.to_owned(),
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#.to_owned(),
    ];
    claude.extend(texts.iter().map(|text| {
        format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}}}"#)
    }));
    claude
        .push(r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#.to_owned());
    claude.push(r#"{"type":"message_stop"}"#.to_owned());
    let mut google: Vec<_> = texts
        .iter()
        .map(|text| format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}}}}]}}"#))
        .collect();
    google.push(r#"{"candidates":[{"content":{"parts":[]},"finishReason":"STOP"}]}"#.to_owned());
    let text = |client: &dyn Fn(Canned) -> Box<dyn Provider>, events| {
        let client = client(Canned::events([join(events)]));
        let read =
            block_on(async { client.chat_stream(crate::streaming::question()).await.unwrap().output.complete().await });
        read.unwrap_or_else(|error| panic!("{error}")).text().into_owned()
    };
    [
        text(&|canned| Box::new(OpenAi::with_transport("key", canned).unwrap()), openai),
        text(&|canned| Box::new(Anthropic::with_transport("key", canned).unwrap()), claude),
        text(&|canned| Box::new(Gemini::with_transport("key", canned).unwrap()), google),
    ]
}

#[test]
fn damaged_text_half_characters_are_joined() {
    for (texts, expected) in [
        (vec![r"hi \ud83d", r"\ude00 you"], "hi 😀 you"),
        (vec![r"hi \uD83D", "", r"\uDE00"], "hi 😀"),
        (vec![r"a\ud83d\ude00b"], "a😀b"),
        (vec![r"\ud83d!", r"?\ude00"], "\u{fffd}!?\u{fffd}"),
        (vec![r"\\ud83d", r"\ude00"], "\\ud83d\u{fffd}"),
        (vec!["😀", r"\u00e9"], "😀é"),
    ] {
        for (at, text) in streamed(&texts, "").iter().enumerate() {
            assert_eq!(text, expected, "{texts:?} in format {at}");
        }
    }
}

#[test]
fn damaged_text_byte_order_mark_is_skipped() {
    assert_eq!(streamed(&["a", "b"], "\u{feff}"), ["ab", "ab", "ab"]);
    for mark in ["", "\u{feff}"] {
        let whole = |body: &str| format!("{mark}{body}").into_bytes();
        let openai = whole(r#"{"choices":[{"message":{"content":"a\ud83d"},"finish_reason":"stop"}]}"#);
        let claude = whole(r#"{"content":[{"type":"text","text":"a\ud83d"}],"stop_reason":"end_turn"}"#);
        let google = r#"{"candidates":[{"content":{"parts":[{"text":"a\ud83d"}]},"finishReason":"STOP"}]}"#;
        let listed = whole(&format!("[{google}]"));
        assert_eq!(codec::openai::decode_chat(&openai).unwrap().output.text(), "a\u{fffd}");
        assert_eq!(codec::anthropic::decode_chat(&claude).unwrap().output.text(), "a\u{fffd}");
        assert_eq!(codec::gemini::decode_chat(&whole(google)).unwrap().output.text(), "a\u{fffd}");
        assert_eq!(codec::gemini::decode_chat(&listed).unwrap().output.text(), "a");
        let vectors = codec::openai::decode_embeddings(&whole(r#"{"data":[{"embedding":[1]}]}"#), 1).unwrap();
        assert_eq!(vectors.output.vectors.len(), 1);
    }
}

#[test]
fn damaged_text_of_error_keeps_words() {
    let body = "\u{feff}{\"error\":{\"message\":\"no \\ud83d\",\"code\":\"context_length_exceeded\"}}";
    let canned = Canned { status: http::StatusCode::BAD_REQUEST, ..Canned::response("application/json", [body]) };
    let error = block_on(play_to(&canned.client())).unwrap_err();
    assert_eq!((error.code(), error.message()), (Some("context_length_exceeded"), "no \u{fffd}"));
}

#[test]
fn damaged_text_of_arguments_stays_readable() {
    let call = r#"{"functionCall":{"name":"f","args":{"x":"a\ud83d!"}}}"#;
    let body = format!(r#"{{"candidates":[{{"content":{{"parts":[{call}]}},"finishReason":"STOP"}}]}}"#);
    let response = codec::gemini::decode_chat(body.as_bytes()).unwrap().output;
    let arguments: serde_json::Value = response.tool_calls().next().unwrap().parse().unwrap();
    assert_eq!(arguments["x"], "a\u{fffd}!");
    let broken = Canned::events(["data: {\"choices\": [\"\\ud83d\n\n"]).client();
    let error = block_on(play_to(&broken)).unwrap_err();
    assert_eq!(error.charge(), Charge::Unknown);
}
