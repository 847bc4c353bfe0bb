//! Conversion of Anthropic's requests into OpenAI's form.

use crate::conversation::{content, inline_image, linked_image, response_format, text, tool, tool_call, tool_choice};
use serde_json::{Map, Value, json};

/// Converts a request into OpenAI's form, which [`response_hash`](crate::openai::response_hash) and
/// [`tokens`](crate::tokens) read.
///
/// `cache_control` is omitted everywhere. Fields that OpenAI's format does not have keep their names.
pub fn as_openai(body: &Value) -> Value {
    let Some(fields) = body.as_object() else { return body.clone() };
    let mut to = Map::new();
    let mut messages = Vec::new();
    if let Some(system) = fields.get("system") {
        messages.push(json!({"role": "system", "content": content(parts(system))}));
    }
    for (name, value) in fields {
        match name.as_str() {
            // NOTE: a response in this format has one choice, so another vendor's field `n` is ignored.
            "system" | "cache_control" | "n" => {}
            "messages" => messages.extend(value.as_array().into_iter().flatten().flat_map(message)),
            "stop_sequences" => drop(to.insert("stop".into(), value.clone())),
            "tools" => {
                let tools = value.as_array().into_iter().flatten();
                let tools = tools.map(|one| tool(&one["name"], &one["description"], &one["input_schema"]));
                to.insert(name.clone(), tools.collect());
            }
            "tool_choice" => to.extend(choice(value).map(|choice| (name.clone(), choice))),
            "output_config" => {
                let format = value.get("format").map(|format| response_format(&format["schema"]));
                to.extend(format.map(|format| ("response_format".into(), format)));
                to.extend(value.get("effort").map(|effort| ("reasoning_effort".into(), effort.clone())));
            }
            _ => drop(to.insert(name.clone(), value.clone())),
        }
    }
    if fields.get("messages").is_some_and(Value::is_array) {
        to.insert("messages".into(), messages.into());
    }
    Value::Object(to)
}

/// Returns the numbers of cache breakpoints for five minutes and for an hour.
pub(super) fn breakpoints(value: &Value) -> [u64; 2] {
    let sum = |one: [u64; 2], other: [u64; 2]| [one[0] + other[0], one[1] + other[1]];
    match value {
        Value::Array(items) => items.iter().map(breakpoints).fold([0; 2], sum),
        Value::Object(fields) => {
            let own = match fields.get("cache_control").filter(|control| control.is_object()) {
                None => [0, 0],
                Some(control) if control["ttl"] == "1h" => [0, 1],
                Some(_) => [1, 0],
            };
            let inner = fields.iter().filter(|(name, _)| *name != "cache_control" && *name != "input");
            inner.map(|(_, value)| breakpoints(value)).fold(own, sum)
        }
        _ => [0; 2],
    }
}

fn choice(choice: &Value) -> Option<Value> {
    match choice["type"].as_str()? {
        "any" => Some(tool_choice(&[])),
        "tool" => Some(tool_choice(&[&choice["name"]])),
        "auto" => None,
        other => Some(json!(other)),
    }
}

/// Converts a message into one or more messages, because OpenAI's format has a separate message for each tool result.
fn message(message: &Value) -> Vec<Value> {
    let blocks = message["content"].as_array().map_or(&[][..], Vec::as_slice);
    let is = |kind: &'static str| blocks.iter().filter(move |block| block["type"] == kind);
    let results = is("tool_result").map(|block| {
        json!({"role": "tool", "tool_call_id": block["tool_use_id"], "content": content(parts(&block["content"]))})
    });
    let mut messages: Vec<_> = results.collect();
    let calls: Vec<_> = is("tool_use").map(|block| tool_call(&block["id"], &block["name"], &block["input"])).collect();
    let said = content(parts(&message["content"]));
    if messages.is_empty() || !said.is_null() {
        let mut own = json!({"role": message["role"], "content": said});
        if !calls.is_empty() {
            own["tool_calls"] = calls.into();
        }
        messages.push(own);
    }
    messages
}

/// Returns the parts of content that are neither tool calls nor tool results.
fn parts(content: &Value) -> Vec<Value> {
    match content {
        Value::String(_) => vec![text(content)],
        Value::Array(blocks) => blocks.iter().filter_map(part).collect(),
        _ => Vec::new(),
    }
}

fn part(block: &Value) -> Option<Value> {
    let source = &block["source"];
    match (block["type"].as_str().unwrap_or_default(), source["type"].as_str().unwrap_or_default()) {
        ("tool_use" | "tool_result", _) => None,
        ("text", _) => Some(text(&block["text"])),
        ("image", "base64") => Some(inline_image(&source["media_type"], &source["data"])),
        ("image", "url") => Some(linked_image(&source["url"])),
        ("thinking", _) => Some(json!({"type": "thinking", "text": block["thinking"]})),
        _ => {
            let mut other = block.clone();
            other.as_object_mut().and_then(|fields| fields.remove("cache_control"));
            Some(other)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::response_hash;

    #[test]
    fn response_hash_is_equal_for_equal_conversations() {
        let control = json!({"type": "ephemeral"});
        let body = json!({"model": "m", "max_tokens": 9, "stop_sequences": ["x"],
            "system": [{"type": "text", "text": "be brief", "cache_control": control}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "hi"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"b": 1, "a": 2}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "3"}]}],
            "tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": control}],
            "tool_choice": {"type": "any"}});
        let equal = json!({"model": "m", "max_tokens": 9, "stop": ["x"],
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "hi"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
                {"role": "assistant", "content": null, "tool_calls":
                    [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"a\":2,\"b\":1}"}}]},
                {"role": "tool", "tool_call_id": "t", "content": "3"}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "tool_choice": "required"});
        assert_eq!(as_openai(&body), equal);
        assert_eq!(response_hash(&as_openai(&body)), response_hash(&equal));
        assert_eq!(breakpoints(&body), [2, 0]);
    }

    #[test]
    fn anthropic_schema_and_effort_are_converted() {
        let config = json!({"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}});
        let to = as_openai(&json!({"output_config": config}));
        assert_eq!(to["reasoning_effort"], "low");
        assert_eq!(to["response_format"]["json_schema"]["schema"]["type"], "object");
    }
}
