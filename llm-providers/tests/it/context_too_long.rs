//! Tests of prompts that are too long, in the words of each server. They are never retried, whatever their status is.

use std::time::UNIX_EPOCH;

use http::{HeaderMap, StatusCode};
use llm_providers::llm_core::{Error, ErrorKind};
use serde_json::json;

use crate::codec;

/// Returns the error in each format.
fn classified(status: u16, headers: &HeaderMap, body: &str) -> [Error; 3] {
    let classify = [codec::openai::classify, codec::anthropic::classify, codec::gemini::classify];
    let status = StatusCode::from_u16(status).unwrap();
    classify.map(|classify| classify(status, headers, body.as_bytes(), UNIX_EPOCH, None))
}

const MESSAGES: [&str; 25] = [
    "the request exceeds the available context size. try increasing the context size or enable context shift",
    "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "Context size has been exceeded.",
    "Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded with context length \
     of only 4096 tokens, which is not enough. Try to load the model with a larger context length",
    "The number of tokens to keep from the initial prompt is greater than the context length",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    "Requested tokens (600) exceed context window of 512",
    "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
    "the input length exceeds the context length",
    "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
    "prompt is too long: 213462 tokens > 200000 maximum",
    "Input is too long for requested model.",
    "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    "Please reduce the length of the messages or completion.",
    "prompt token count of 128500 exceeds the limit of 128000",
    "Your request exceeded model token limit: 8192",
    "invalid params, context window exceeds limit (2013)",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096",
    "The decoder prompt (length 9000) is longer than the maximum model length of 8192.",
    "Prompt exceeds max length",
    "Input tokens exceed the configured limit of 272000 tokens.",
    "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000",
    "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000.",
];

#[test]
fn context_too_long_is_known_by_words() {
    let bodies = |message: &str| {
        [
            json!({"error": {"message": message, "type": "invalid_request_error"}}),
            json!({"error": {"message": message, "type": "server_error", "code": 500}}),
            json!({"error": message}),
            json!({"object": "error", "message": message}),
            json!({"detail": message}),
        ]
    };
    for message in MESSAGES {
        for body in bodies(message) {
            for status in [400, 413, 422, 500, 502] {
                for error in classified(status, &HeaderMap::new(), &body.to_string()) {
                    assert_eq!(error.kind(), ErrorKind::ContextTooLong, "{status}: {body}");
                    assert!(!error.is_retryable() && error.message() == message, "{body}");
                }
            }
        }
    }
}

#[test]
fn context_too_long_is_known_by_name() {
    for name in ["exceed_context_size_error", "context_length_exceeded", "model_max_prompt_tokens_exceeded"] {
        for body in [json!({"error": {"type": name, "n_ctx": 256}}), json!({"error": {"code": name, "message": "no"}})]
        {
            for status in [400, 500] {
                for error in classified(status, &HeaderMap::new(), &body.to_string()) {
                    assert_eq!(error.kind(), ErrorKind::ContextTooLong, "{status}: {body}");
                }
            }
        }
    }
}

#[test]
fn context_too_long_is_not_retried() {
    let headers = HeaderMap::from_iter([("x-should-retry".parse().unwrap(), "true".parse().unwrap())]);
    let [openai, anthropic, gemini] = classified(500, &headers, r#"{"error": "Context size has been exceeded."}"#);
    assert!(!openai.is_retryable() && !anthropic.is_retryable() && !gemini.is_retryable());
}

#[test]
fn context_too_long_is_not_other_errors() {
    for (status, message) in [
        (429, "Too many tokens, please wait before trying again."),
        (429, "Request would exceed the maximum context length of your tier per minute"),
        (400, "max_tokens is too large"),
        (400, "Unknown field: context_management"),
        (500, "the context of the request was cancelled"),
        (500, "Internal error"),
    ] {
        for error in classified(status, &HeaderMap::new(), &json!({"error": {"message": message}}).to_string()) {
            assert_ne!(error.kind(), ErrorKind::ContextTooLong, "{status}: {message}");
        }
    }
}
