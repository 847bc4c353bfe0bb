//! Encoding of messages that are not streamed.

use crate::response::{ChatResponse, Choice, Content, Finish, arguments};
use serde_json::{Value, json};

/// Returns the message of a response.
pub(super) fn message(response: &ChatResponse, usage: bool) -> Value {
    let choice = &response.choices[0];
    let mut content = Vec::new();
    if choice.thinking > 0 {
        content.push(json!({"type": "thinking", "thinking": thoughts(choice), "signature": choice.signature()}));
    }
    match &choice.content {
        Content::Text(text) if text.is_empty() => {}
        Content::Text(text) => content.push(json!({"type": "text", "text": text})),
        Content::Tool { hash, name, arguments: text } => {
            // NOTE: truncated or corrupt arguments are not an object, so they remain text.
            let input = arguments(text).unwrap_or_else(|| json!(text));
            content.push(json!({"type": "tool_use", "id": call_id(*hash), "name": name, "input": input}));
        }
    }
    let mut message = opening(response);
    message["content"] = content.into();
    for (name, value) in ending(&choice.finish) {
        message[name] = value;
    }
    if usage {
        message["usage"] = self::usage(response, response.output());
    }
    message
}

/// Returns a message without content, stop reason and usage.
pub(super) fn opening(response: &ChatResponse) -> Value {
    json!({"id": response.id, "type": "message", "role": "assistant", "model": response.model, "content": [],
        "stop_reason": null, "stop_sequence": null, "stop_details": null})
}

/// Returns the fields of a message that state why it ended, with their names.
pub(super) fn ending(finish: &Finish) -> [(&'static str, Value); 3] {
    let (reason, sequence, details) = match finish {
        Finish::Stop => ("end_turn", Value::Null, Value::Null),
        Finish::Length => ("max_tokens", Value::Null, Value::Null),
        Finish::Tool => ("tool_use", Value::Null, Value::Null),
        Finish::Sequence(sequence) => ("stop_sequence", json!(sequence), Value::Null),
        Finish::Filtered => {
            let explanation = "it must not be said";
            ("refusal", Value::Null, json!({"type": "refusal", "category": "cyber", "explanation": explanation}))
        }
    };
    [("stop_reason", json!(reason)), ("stop_sequence", sequence), ("stop_details", details)]
}

/// Returns the usage after `output` tokens. Its `input_tokens` exclude tokens read from a cache or written to one.
pub(super) fn usage(response: &ChatResponse, output: u64) -> Value {
    let [short, long] = response.written;
    json!({
        "input_tokens": response.input - response.cached - short - long,
        "cache_creation_input_tokens": short + long, "cache_read_input_tokens": response.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
        "output_tokens": output, "output_tokens_details": {"thinking_tokens": response.thinking().min(output)},
        "service_tier": "standard",
    })
}

/// Returns the reasoning; an empty text if the request does not ask to show it.
pub(super) fn thoughts(choice: &Choice) -> &str {
    if choice.shown { &choice.thoughts } else { "" }
}

pub(super) fn call_id(hash: u64) -> String {
    format!("toolu_{hash:016x}")
}
