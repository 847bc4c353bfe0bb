//! Tests of behaviour of compatible servers that no recording shows: errors, failing streams and growing usage.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, StatusCode};
use llm_providers::{
    OpenAi,
    llm_core::{
        Charge, ChatEvent, Error, ErrorKind, Part, Usage,
        layer::{LimitScope, LimitWindow},
    },
};
use serde_json::json;

use crate::streaming::{Canned, Read, block_on, play_to};

use crate::codec::openai::{ChunkDecoder, Dialect, classify, vendor_limits};

fn refused(status: u16, body: &str) -> Error {
    classify(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes(), UNIX_EPOCH, None)
}

fn group(window: LimitWindow) -> Option<LimitScope> {
    Some(LimitScope::Group(window))
}

#[test]
fn compat_errors_have_kinds() {
    use ErrorKind::{
        Authentication, ContentFiltered, ContextTooLong, InvalidRequest, Malformed, QuotaExhausted, RateLimited,
    };
    for (status, body, kind, scope) in [
        // Azure's content filter.
        (
            400,
            r#"{"error": {"code": "content_filter", "message": "m", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}"#,
            ContentFiltered,
            None,
        ),
        (
            400,
            r#"{"error": {"code": "BadRequest", "message": "m", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}"#,
            ContentFiltered,
            None,
        ),
        // DeepSeek and OpenRouter, for accounts without money.
        (
            402,
            r#"{"error": {"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"}}"#,
            QuotaExhausted,
            group(LimitWindow::Money),
        ),
        (
            402,
            r#"{"error": {"code": 402, "message": "Insufficient credits"}}"#,
            QuotaExhausted,
            group(LimitWindow::Money),
        ),
        // OpenRouter: moderation, and the daily limit of free calls.
        (
            403,
            r#"{"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["x"], "flagged_input": "…"}}}"#,
            ContentFiltered,
            None,
        ),
        (
            429,
            r#"{"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day"}}"#,
            RateLimited,
            group(LimitWindow::Day),
        ),
        // Groq: the daily limit of requests, a request above the limit, and an invalid tool call.
        (
            429,
            r#"{"error": {"message": "Rate limit reached on requests per day (RPD): Limit 10, Used 10, Requested 1.", "type": "requests", "code": "rate_limit_exceeded"}}"#,
            RateLimited,
            Some(LimitScope::Model(LimitWindow::Day)),
        ),
        (
            413,
            r#"{"error": {"message": "Request too large on tokens per minute (TPM): Limit 6000, Requested 8000", "type": "tokens", "code": "rate_limit_exceeded"}}"#,
            InvalidRequest,
            Some(LimitScope::Model(LimitWindow::Request)),
        ),
        (
            400,
            r#"{"error": {"message": "Tool call validation failed", "type": "invalid_request_error", "code": "tool_use_failed", "failed_generation": "x"}}"#,
            Malformed,
            None,
        ),
        (
            400,
            r#"{"error": {"message": "Please reduce the length of the messages or completion.", "type": "invalid_request_error"}}"#,
            ContextTooLong,
            None,
        ),
        // Mistral.
        (
            422,
            r#"{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}"#,
            InvalidRequest,
            None,
        ),
        (401, r#"{"detail": "Unauthorized"}"#, Authentication, None),
        (
            400,
            r#"{"object": "error", "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", "type": "invalid_request_error", "code": "3051"}"#,
            ContextTooLong,
            None,
        ),
        // Gemini behind OpenAI's format.
        (
            400,
            r#"[{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT", "details": [{"@type": "t", "reason": "API_KEY_INVALID"}]}}]"#,
            Authentication,
            None,
        ),
    ] {
        let error = refused(status, body);
        assert_eq!((error.kind(), error.scope()), (kind, scope), "{body}");
        let charge = if kind == Malformed { Charge::Unknown } else { Charge::None };
        assert_eq!(error.charge(), charge, "{body}");
    }
    assert_eq!(refused(422, r#"{"detail": [{"loc": ["body", "seed"], "msg": "no"}]}"#).message(), "body.seed: no");
    let upstream = refused(
        429,
        r#"{"error": {"code": 429, "message": "Provider returned error", "metadata": {"raw": "slow down, key sk-abcdefgh"}}}"#,
    );
    assert_eq!(upstream.message(), "Provider returned error: slow down, key [key]");
}

#[test]
fn vendor_limits_of_compatible_servers_are_read() {
    let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    };
    let groq = headers(&[("x-ratelimit-limit-requests", "14400"), ("x-ratelimit-reset-requests", "6s")]);
    let azure = headers(&[("x-ratelimit-limit-requests", "2500"), ("x-ratelimit-reset-requests", "60")]);
    let reset = |headers| vendor_limits(&headers, &"m".into(), UNIX_EPOCH).unwrap().requests.unwrap().reset;
    assert_eq!((reset(groq), reset(azure)), (Some(Duration::from_secs(6)), Some(Duration::from_secs(60))));
}

fn played(dialect: Dialect, chunks: &[serde_json::Value], done: bool) -> Result<Read, Error> {
    let mut text: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    text.push_str(if done { "data: [DONE]\n\n" } else { "" });
    block_on(play_to(&OpenAi::with_dialect(dialect, None, Canned::events([text])).unwrap()))
}

fn delta(text: &str, usage: u64) -> serde_json::Value {
    json!({"id": "1", "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}],
        "usage": {"prompt_tokens": 3, "completion_tokens": usage}})
}

#[test]
fn usage_growing_is_final_at_stream_end() {
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let read = played(Dialect::VLLM, &[delta("a", 1), delta("b", 2), end], true).unwrap();
    let usages: Vec<_> = read.events.iter().filter(|event| matches!(event, ChatEvent::Usage(_))).collect();
    assert_eq!((usages, read.receipt.usage()), (vec![&ChatEvent::Usage(Usage::new(3, 2))], Some(Usage::new(3, 2))));
    let broken = played(Dialect::VLLM, &[delta("a", 1), delta("b", 2)], false).unwrap();
    let error = broken.error.unwrap();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Incomplete, Charge::Unknown));
    let accounting = broken.receipt.accounting();
    assert_eq!((accounting.usage, accounting.usage_so_far), (None, Some(Usage::new(3, 2))), "known at least");
}

#[test]
fn error_chunk_ends_incomplete_stream() {
    let failed = json!({"id": "1", "error": {"code": 502, "message": "upstream failed"}, "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1}});
    let read = played(Dialect::OPENROUTER, &[delta("a", 1), failed.clone()], true).unwrap();
    let error = read.error.unwrap();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Server, Charge::Known(Usage::new(3, 1))));
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]});
    let read = played(Dialect::OPENROUTER, &[delta("a", 1), end, failed], true).unwrap();
    let response = read.response.unwrap();
    assert_eq!((&*response.text(), response.extra.get("error").is_some()), ("a", true));
}

#[test]
fn abandoned_response_is_error() {
    for (reason, kind) in [("insufficient_system_resource", ErrorKind::Overloaded), ("error", ErrorKind::Server)] {
        let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]});
        let error = played(Dialect::DEEPSEEK, &[delta("a", 1), end], true).unwrap().error.unwrap();
        assert_eq!((error.kind(), error.charge()), (kind, Charge::Unknown));
        let body = json!({"choices": [{"message": {"content": "a"}, "finish_reason": reason}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1}});
        let error = crate::codec::openai::decode_chat(body.to_string().as_bytes()).unwrap_err();
        assert_eq!((error.kind(), error.charge()), (kind, Charge::Known(Usage::new(3, 1))));
    }
}

#[test]
fn reasoning_details_are_joined() {
    let detail =
        |of: serde_json::Value| json!({"choices": [{"index": 0, "delta": {"reasoning_details": [of]}}]}).to_string();
    let mut chunks = ChunkDecoder::new(Dialect::OPENROUTER);
    chunks.decode(&detail(json!({"type": "reasoning.text", "text": "2+", "index": 0, "signature": null}))).unwrap();
    chunks.decode(&detail(json!({"type": "reasoning.text", "text": "2", "index": 0, "signature": "s"}))).unwrap();
    chunks.decode(&detail(json!({"type": "reasoning.encrypted", "data": "x", "index": 0}))).unwrap();
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).to_string();
    assert_eq!(chunks.decode(&end).unwrap(), [], "more may come");
    let events = chunks.finish().unwrap();
    let Some(ChatEvent::Part { part: Part::Reasoning(reasoning), .. }) = events.first() else { panic!("{events:?}") };
    assert_eq!(
        reasoning.extra.get("reasoning_details"),
        Some(&json!([{"type": "reasoning.text", "text": "2+2", "index": 0, "signature": "s"},
            {"type": "reasoning.encrypted", "data": "x", "index": 0}]))
    );
}
