//! Readers of request bodies: OpenAI's chat completions, responses and embeddings, and Anthropic's messages.

use serde_json::Value;

use super::fields::{Object, Skipped, canonical};
use crate::record::{Prompt, Segment, SegmentKind};

/// Fields that decide how a response is delivered, billed or logged, and do not change the response.
const DELIVERY: [&str; 17] = [
    "stream",
    "stream_options",
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "cache_control",
    "extra_headers",
    "timeout",
    "background",
    "inference_geo",
    "speed",
    "max_retries",
];

/// Fields that hold the model and the prompt, and therefore are no parameters.
const PROMPT: [&str; 7] = ["model", "messages", "input", "system", "instructions", "tools", "prompt"];

pub(super) fn is_body(object: &Object) -> bool {
    ["messages", "input", "prompt"].iter().any(|name| object.contains_key(*name))
}

/// Returns the model and the prompt of a request body.
pub(super) fn read(body: &Object) -> Result<(String, Prompt), Skipped> {
    let model = body.get("model").and_then(Value::as_str).ok_or_else(|| Skipped::new("no `model` in the request"))?;
    let mut segments = Vec::new();
    if let Some(tools) = body.get("tools").filter(|tools| tools.as_array().is_none_or(|list| !list.is_empty())) {
        segments.push(Segment::new(SegmentKind::Tools, content(tools)));
    }
    for name in ["system", "instructions"] {
        segments.extend(body.get(name).map(|system| Segment::new(SegmentKind::System, content(system))));
    }
    let messages = ["messages", "input", "prompt"].iter().find_map(|name| body.get(*name));
    match messages {
        Some(Value::Array(messages)) => segments.extend(messages.iter().map(message)),
        Some(Value::String(text)) => segments.push(Segment::new(SegmentKind::User, text.as_str())),
        _ => return Err(Skipped::new("no list or text of messages in the request")),
    }
    let mut parameters = String::new();
    let mut others: Vec<_> = body.iter().filter(|(name, value)| is_parameter(name) && !value.is_null()).collect();
    others.sort_unstable_by_key(|(name, _)| *name);
    for (name, value) in others {
        parameters.push_str(name);
        parameters.push('=');
        canonical(value, &mut parameters);
        parameters.push('\n');
    }
    Ok((model.to_owned(), Prompt { parameters, ..Prompt::whole(segments) }))
}

fn is_parameter(name: &str) -> bool {
    !DELIVERY.contains(&name) && !PROMPT.contains(&name)
}

fn message(message: &Value) -> Segment {
    if let Value::String(text) = message {
        return Segment::new(SegmentKind::User, text.as_str());
    }
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
    let kind = match role {
        "system" | "developer" => SegmentKind::System,
        "user" => SegmentKind::User,
        _ => SegmentKind::Other,
    };
    // A message of the user or the system that has only text is represented by that text. Of any other message all
    // fields count.
    match (kind, message.get("content")) {
        (SegmentKind::System | SegmentKind::User, Some(text @ Value::String(_))) => Segment::new(kind, content(text)),
        _ => Segment::new(kind, content(message)),
    }
}

/// Returns a replacement for an image or a file in base64: its digest, which is as long as the text of about 1,000
/// tokens, because vendors count an image by its resolution.
fn encoded(text: &str) -> Option<String> {
    const LENGTH: usize = 4_096;
    let data = text.split_once(";base64,").map_or(text, |(_, data)| data);
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte);
    let is_encoded = data.len() > LENGTH && data.bytes().all(is_base64);
    is_encoded.then(|| blake3::hash(text.as_bytes()).to_hex().repeat(LENGTH / 64))
}

fn content(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::String(plain) => text.push_str(plain),
        _ => canonical(&reduced(value), &mut text),
    }
    text
}

/// Returns the value without instructions for the vendor's prompt cache, which do not change the response, and with
/// digests in place of images.
fn reduced(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(reduced).collect(),
        Value::Object(object) => {
            let fields = object.iter().filter(|(name, _)| *name != "cache_control");
            fields.map(|(name, value)| (name.clone(), reduced(value))).collect()
        }
        Value::String(text) => encoded(text).map_or_else(|| value.clone(), Value::from),
        scalar => scalar.clone(),
    }
}
