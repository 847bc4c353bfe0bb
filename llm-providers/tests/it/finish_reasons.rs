//! Tests of finish reasons: their words in every format, and the responses that a cache may store.

use llm_providers::{
    Anthropic, Gemini,
    llm_core::{ChatRequest, ChatResponse, ErrorKind, FinishReason, Operation},
};
use serde_json::{Value, json};

use crate::codec::{anthropic, gemini, openai};
use crate::streaming::{Canned, block_on, play, play_to};

/// Returns the responses with this reason, unary and streamed, in every format.
fn responses(reason: &Value) -> [ChatResponse; 6] {
    let choice = json!({"index": 0, "message": {"content": "x"}, "finish_reason": reason});
    let chunk = json!({"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": reason}]});
    let blocks = json!([{"type": "text", "text": "x"}]);
    let delta = json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 1}});
    let candidate = json!({"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": reason}]});
    let events = format!(
        "data: {}\n\ndata: {delta}\n\ndata: {}\n\n",
        json!({"type": "message_start", "message": {"content": blocks.clone(), "usage": {"input_tokens": 1}}}),
        json!({"type": "message_stop"}),
    );
    let bytes = |value: &Value| value.to_string().into_bytes();
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
    let chunks = format!("data: {chunk}\n\ndata: {usage}\n\ndata: [DONE]\n\n");
    let claude = Anthropic::with_transport("key", Canned::events([events])).unwrap();
    let google = Gemini::with_transport("key", Canned::events([format!("data: {candidate}\n\n")])).unwrap();
    let streamed = |read: Result<crate::streaming::Read, _>| read.unwrap().response;
    let silent = |response: Option<ChatResponse>| response.unwrap_or_default();
    [
        openai::decode_chat(&bytes(&json!({"choices": [choice]}))).unwrap().output,
        block_on(async { streamed(play(Canned::events([chunks])).await) }).unwrap(),
        anthropic::decode_chat(&bytes(&json!({"content": blocks, "stop_reason": reason}))).unwrap().output,
        silent(block_on(async { streamed(play_to(&claude).await) })),
        gemini::decode_chat(&bytes(&candidate)).unwrap().output,
        silent(block_on(async { streamed(play_to(&google).await) })),
    ]
}

#[test]
fn finish_reason_reads_alike_across_vendors() {
    use FinishReason::{ContentFilter, Failed, Length, Other, Stop};
    let named = |make: fn(std::sync::Arc<str>) -> FinishReason, words: &[&'static str]| -> Vec<_> {
        words.iter().map(|word| (*word, make((*word).into()))).collect()
    };
    let stops = ["stop", "STOP", "end_turn", "stop_sequence", "eos", "eos_token", "COMPLETE"];
    let lengths = ["length", "max_tokens", "MAX_TOKENS", "model_length", "model_context_window_exceeded"];
    let filters = ["content_filter", "sensitive", "refusal", "SAFETY", "RECITATION", "BLOCKLIST"];
    let failures = ["abort", "network_error", "cancelled", "repetition", "MALFORMED_FUNCTION_CALL"];
    let more = ["UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE", "OTHER", "LANGUAGE", "MALFORMED_RESPONSE"];
    let unknown = ["compaction", "pause_turn", "enough", "Stop", "stopped", "null", "99"];
    let mut cases = named(|_| Stop, &stops);
    cases.extend(named(|_| Length, &lengths));
    cases.extend(named(|_| ContentFilter, &filters));
    cases.extend(named(Failed, &failures));
    cases.extend(named(Failed, &more));
    cases.extend(named(Other, &unknown));
    for (word, meant) in cases {
        for (at, response) in responses(&json!(word)).iter().enumerate() {
            assert_eq!((response.finish(), &*response.text()), (&meant, "x"), "{word} in format {at}");
            assert_eq!(ChatRequest::is_cacheable(response), meant == Stop, "{word} in format {at}");
        }
    }
}

#[test]
fn finish_reason_without_word_is_none() {
    for reason in [json!(null), json!("")] {
        for (at, response) in responses(&reason).iter().enumerate() {
            // A stream of Gemini's without a finish reason has broken off.
            assert!(
                *response.finish() == FinishReason::Unknown && !ChatRequest::is_cacheable(response),
                "{reason} in format {at}"
            );
        }
    }
    for reason in [json!({"type": "stop"}), json!(true), json!(99)] {
        let odd = FinishReason::Other(reason.to_string().into());
        assert!(responses(&reason).iter().all(|response| *response.finish() == odd), "{reason}");
    }
}

/// Returns the result of a stream of OpenAI's chunks with these texts and reasons.
fn stream(chunks: &[(&str, Option<&str>)], done: bool) -> Result<ChatResponse, ErrorKind> {
    let chunk = |(text, reason): &(&str, Option<&str>)| {
        let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": reason});
        format!("data: {}\n\n", json!({"choices": [choice]}))
    };
    let mut text: String = chunks.iter().map(chunk).collect();
    text.push_str(if done { "data: [DONE]\n\n" } else { "" });
    let read = block_on(play(Canned::events([text]))).map_err(|error| error.kind())?;
    read.response.ok_or_else(|| read.error.unwrap().kind())
}

#[test]
fn streamed_finish_reason_is_the_last() {
    use FinishReason::{ContentFilter, Length, Stop, ToolCalls};
    for (reasons, meant) in [
        (vec![Some("stop"), Some("stop"), Some("length")], Length),
        (vec![Some("stop"), Some("content_filter")], ContentFilter),
        (vec![Some(""), Some(""), Some("stop")], Stop),
        (vec![Some("tool_calls"), Some("stop")], ToolCalls),
        (vec![Some("tool_calls"), Some("length")], Length),
        (vec![Some("length"), Some(""), None], Length),
    ] {
        let chunks: Vec<_> = reasons.iter().map(|reason| ("x", *reason)).collect();
        let response = stream(&chunks, true).unwrap();
        assert_eq!((response.finish(), response.text().len()), (&meant, reasons.len()), "{reasons:?}");
        assert_eq!(ChatRequest::is_cacheable(&response), meant == Stop, "{reasons:?}");
    }
}

#[test]
fn finish_reason_auxiliary_does_not_end_stream() {
    for reason in ["", "stop"] {
        let chunks = [("a", Some(reason)), ("b", Some(reason))];
        assert_eq!(stream(&chunks, false), Err(ErrorKind::Incomplete), "{reason:?}");
    }
    assert_eq!(stream(&[("a", Some(""))], false), Err(ErrorKind::Incomplete));
    // An error in place of a later chunk is the error of the stream.
    let chunk = |text| json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]});
    let error = json!({"error": {"message": "failed", "type": "server_error"}});
    let text = format!("data: {}\n\ndata: {}\n\ndata: {error}\n\ndata: [DONE]\n\n", chunk("a"), chunk("b"));
    assert_eq!(block_on(play(Canned::events([text]))).unwrap().error.unwrap().kind(), ErrorKind::Server);
}

#[test]
fn finish_reason_without_content_is_not_cacheable() {
    let message = json!({"content": null, "reasoning_content": "hm"});
    let body = json!({"choices": [{"message": message, "finish_reason": "stop"}]});
    let block = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
    let claude = json!({"content": [block], "stop_reason": "end_turn"});
    let parts = json!([{"text": "hm", "thought": true}, {"text": "", "thoughtSignature": "s"}]);
    let google = json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]});
    for response in [
        openai::decode_chat(body.to_string().as_bytes()).unwrap().output,
        anthropic::decode_chat(claude.to_string().as_bytes()).unwrap().output,
        gemini::decode_chat(google.to_string().as_bytes()).unwrap().output,
    ] {
        assert_eq!((response.finish(), response.choices[0].reasoning()), (&FinishReason::Stop, "hm".to_owned()));
        assert!(!ChatRequest::is_cacheable(&response));
    }
}
