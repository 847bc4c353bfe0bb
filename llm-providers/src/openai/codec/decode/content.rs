use std::sync::Arc;

use llm_core::{Error, Extra, Part, chat::Reasoning};
use serde_json::Value;

use super::super::fields::{Fields, malformed, take_list, take_text};

/// Removes reasoning, text and refusal from a message or a delta, in this order.
///
/// Reasoning is in `reasoning_content` (DeepSeek, vLLM) or `reasoning` (OpenRouter, Groq); a server that sends both
/// sends the same text in both. `content` is a text, or a list of parts (Mistral). An empty text makes no part.
pub(crate) fn split_content(message: &mut Fields) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    let reasoning = take_text(message, "reasoning_content");
    if reasoning.is_none() || message.get("reasoning").and_then(Value::as_str) == reasoning.as_deref() {
        let second = take_text(message, "reasoning");
        push_reasoning(&mut parts, reasoning.or(second));
    } else {
        push_reasoning(&mut parts, reasoning);
    }
    match message.remove("content") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => push_text(&mut parts, text),
        Some(Value::Array(list)) => list.into_iter().for_each(|part| push_part(&mut parts, part)),
        Some(_) => return Err(malformed("the content of a message is neither a text nor a list of parts")),
    }
    if let Some(text) = take_text(message, "refusal").filter(|text| !text.is_empty()) {
        parts.push(Part::Refusal { text: text.into() });
    }
    Ok(parts)
}

fn push_text(parts: &mut Vec<Part>, text: String) {
    if !text.is_empty() {
        parts.push(Part::text(text));
    }
}

fn push_reasoning(parts: &mut Vec<Part>, text: Option<String>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        parts.push(Part::Reasoning(Reasoning { text: text.into(), ..Reasoning::default() }));
    }
}

/// Adds a part of the list `content`. A part that has other fields than its type and text is kept as the vendor wrote
/// it.
fn push_part(parts: &mut Vec<Part>, part: Value) {
    let plain = part.as_object().is_some_and(|fields| fields.len() == 2);
    let kind = part.get("type").and_then(Value::as_str);
    match (kind, plain) {
        (Some("text"), true) if part["text"].is_string() => push_text(parts, text(&part["text"])),
        (Some("refusal"), true) if part["refusal"].is_string() => {
            parts.push(Part::Refusal { text: text(&part["refusal"]).into() });
        }
        // Mistral's field `closed` states if a part of thinking is complete. It is dropped, because every part of a
        // complete response is complete.
        (Some("thinking"), _) if plain || only(&part, &["type", "thinking", "closed"]) => {
            match thoughts(&part["thinking"]) {
                Some(text) => push_reasoning(parts, Some(text)),
                None => parts.push(Part::Other { value: Arc::new(part) }),
            }
        }
        _ => parts.push(Part::Other { value: Arc::new(part) }),
    }
}

fn only(part: &Value, names: &[&str]) -> bool {
    part.as_object().is_some_and(|fields| fields.keys().all(|name| names.contains(&name.as_str())))
}

/// Removes OpenRouter's `reasoning_details`, which hold the reasoning with the signatures of the model's vendor. The
/// part has no text, because the field `reasoning` holds the same text.
pub(crate) fn take_details(message: &mut Fields) -> Option<Part> {
    let list = take_list(message, "reasoning_details")?;
    (!list.is_empty()).then(|| details_part(list))
}

pub(crate) fn details_part(list: Vec<Value>) -> Part {
    let mut extra = Extra::default();
    extra.insert("reasoning_details", list);
    Part::Reasoning(Reasoning { extra, ..Reasoning::default() })
}

/// Reads Mistral's thinking, which is a text or a list of text parts.
fn thoughts(thinking: &Value) -> Option<String> {
    match thinking {
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => list.iter().map(|part| part["text"].as_str()).collect(),
        _ => None,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
