//! Messages in one piece.

use crate::answer::{Answer, Choice, Content, Finish, arguments};
use serde_json::{Value, json};

/// The message of an answer.
pub(super) fn message(answer: &Answer, usage: bool) -> Value {
    let choice = &answer.choices[0];
    let mut content = Vec::new();
    if choice.thinking > 0 {
        content.push(json!({"type": "thinking", "thinking": thoughts(choice), "signature": choice.signature()}));
    }
    match &choice.content {
        Content::Text(text) if text.is_empty() => {}
        Content::Text(text) => content.push(json!({"type": "text", "text": text})),
        Content::Tool { hash, name, arguments: text } => {
            // NOTE: arguments that were cut or spoiled are no object; they are shown as the text they are.
            let input = arguments(text).unwrap_or_else(|| json!(text));
            content.push(json!({"type": "tool_use", "id": call_id(*hash), "name": name, "input": input}));
        }
    }
    let mut message = opening(answer);
    message["content"] = content.into();
    for (name, value) in ending(&choice.finish) {
        message[name] = value;
    }
    if usage {
        message["usage"] = self::usage(answer, answer.output());
    }
    message
}

/// A message that has not said anything yet, without usage.
pub(super) fn opening(answer: &Answer) -> Value {
    json!({"id": answer.id, "type": "message", "role": "assistant", "model": answer.model, "content": [],
        "stop_reason": null, "stop_sequence": null, "stop_details": null})
}

/// Why a message ends.
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

/// What was used when `output` tokens were generated. Input is what was neither read from a cache nor written to one.
pub(super) fn usage(answer: &Answer, output: u64) -> Value {
    let [short, long] = answer.written;
    json!({
        "input_tokens": answer.input - answer.cached - short - long,
        "cache_creation_input_tokens": short + long, "cache_read_input_tokens": answer.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
        "output_tokens": output, "output_tokens_details": {"thinking_tokens": answer.thinking().min(output)},
        "service_tier": "standard",
    })
}

/// The thoughts as far as the request wants to read them.
pub(super) fn thoughts(choice: &Choice) -> &str {
    if choice.shown { &choice.thoughts } else { "" }
}

pub(super) fn call_id(hash: u64) -> String {
    format!("toolu_{hash:016x}")
}
