use base64::{Engine, engine::general_purpose::STANDARD};
use llm_core::{
    ChatResponse, Choice, Embeddings, Error, ErrorKind, Extra, FinishReason, Part, ToolCall, Usage, chat::Reasoning,
};
use serde_json::{Map, Value, json};

use super::audience::{Audience, Fields, Object};

/// Returns the body for the response to a chat request.
pub(crate) fn chat(response: &ChatResponse, usage: Option<Usage>, audience: Audience) -> Result<Value, Error> {
    let choices = response.choices.iter().map(|one| choice(one, audience)).collect::<Result<Vec<_>, _>>()?;
    let mut fields = head("chat.completion", &response.id, &response.model);
    fields.insert("choices".into(), Value::Array(Vec::new()));
    fields.extend((audience.keep)(Object::Response, &fields, &response.extra));
    fields.insert("choices".into(), choices.into());
    if let Some(usage) = usage {
        fields.insert("usage".into(), usage_fields(usage, &response.extra));
    }
    Ok(Value::Object(fields))
}

/// Returns the body for the response to an embeddings request.
pub(crate) fn embeddings(response: &Embeddings, usage: Option<Usage>, base64: bool) -> Value {
    let vector = |vector: &[f32]| match base64 {
        true => STANDARD.encode(vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>()).into(),
        false => json!(vector),
    };
    let data = response
        .vectors
        .iter()
        .enumerate()
        .map(|(at, numbers)| json!({ "object": "embedding", "index": at, "embedding": vector(numbers) }));
    let input = usage.map_or(0, |usage| usage.input);
    json!({
        "object": "list",
        "data": data.collect::<Vec<_>>(),
        "model": &*response.model,
        "usage": { "prompt_tokens": input, "total_tokens": usage.map_or(input, |usage| usage.total()) },
    })
}

/// Returns the fields with which every response and every chunk begins. Clients require `created`, which is 0 until the
/// vendor's value replaces it.
pub(super) fn head(object: &str, id: &str, model: &str) -> Fields {
    let mut fields = Map::new();
    fields.insert("id".into(), id.into());
    fields.insert("object".into(), object.into());
    fields.insert("created".into(), 0.into());
    fields.insert("model".into(), model.into());
    fields
}

/// Returns the usage in OpenAI's form, with the other fields that the vendor stated under `usage`.
pub(super) fn usage_fields(usage: Usage, stated: &Extra) -> Value {
    let known = json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total(),
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write.saturating_add(usage.cache_write_long),
            "audio_tokens": usage.audio_input,
        },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning, "audio_tokens": usage.audio_output },
    });
    match (stated.get("usage"), known) {
        (Some(Value::Object(stated)), Value::Object(mut fields)) => {
            let unknown = stated.iter().filter(|(name, _)| !fields.contains_key(*name));
            let unknown: Vec<_> = unknown.map(|(name, value)| (name.clone(), value.clone())).collect();
            fields.extend(unknown);
            fields.into()
        }
        (_, known) => known,
    }
}

/// Returns a finish reason in OpenAI's words; `None` for reasons that OpenAI's clients cannot read.
pub(super) fn finish(reason: &FinishReason) -> Option<&'static str> {
    match reason {
        FinishReason::Stop => Some("stop"),
        FinishReason::Length => Some("length"),
        FinishReason::ToolCalls => Some("tool_calls"),
        FinishReason::ContentFilter => Some("content_filter"),
        _ => None,
    }
}

/// Returns the field `native_finish_reason`, as routers write it, with the vendor's word for a finish reason that
/// OpenAI does not have.
pub(super) fn native(reason: &FinishReason) -> Option<(String, Value)> {
    match reason {
        FinishReason::Failed(word) | FinishReason::Other(word) => {
            Some(("native_finish_reason".to_owned(), Value::from(&**word)))
        }
        _ => None,
    }
}

/// Returns a tool call in OpenAI's form.
pub(super) fn called(call: &ToolCall) -> Fields {
    let ToolCall { id, name, arguments, extra } = call;
    let custom = extra.get("type").is_some_and(|kind| kind == "custom");
    let (kind, input) = if custom { ("custom", "input") } else { ("function", "arguments") };
    let mut function = extra.get(kind).and_then(Value::as_object).cloned().unwrap_or_default();
    function.insert("name".into(), Value::from(&**name));
    function.insert(input.into(), Value::from(&**arguments));
    let mut fields = Map::new();
    fields.insert("id".into(), Value::from(&**id));
    fields.insert("type".into(), kind.into());
    fields.insert(kind.into(), function.into());
    for (name, value) in extra.iter() {
        fields.entry(name).or_insert_with(|| value.clone());
    }
    fields
}

/// Returns the error for a part that a response in OpenAI's form cannot hold.
pub(super) fn placeless(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} in the response has no place in OpenAI's format"))
}

fn choice(choice: &Choice, audience: Audience) -> Result<Value, Error> {
    let Choice { index, parts, finish: reason, extra, message_extra, .. } = choice;
    let (mut text, mut thoughts, mut refusal) = (None::<String>, String::new(), None::<String>);
    let mut calls = Vec::new();
    for part in parts {
        match part {
            Part::Text { text: more, .. } => text.get_or_insert_default().push_str(more),
            Part::Refusal { text: more } => refusal.get_or_insert_default().push_str(more),
            Part::Reasoning(Reasoning { text: more, .. }) => thoughts.push_str(more),
            Part::ToolCall(call) => calls.push(Value::Object(called(call))),
            Part::Image(_) => return Err(placeless("an image")),
            Part::ToolResult(_) => return Err(placeless("a tool's result")),
            Part::Other { .. } => return Err(placeless("a part without a name")),
        }
    }
    let mut message = Map::new();
    message.insert("role".into(), "assistant".into());
    message.extend((audience.keep)(Object::Message, &message, message_extra));
    message.insert("content".into(), json!(text));
    message.insert("refusal".into(), json!(refusal));
    if !thoughts.is_empty() {
        message.insert("reasoning_content".into(), thoughts.into());
    }
    if !calls.is_empty() {
        message.insert("tool_calls".into(), calls.into());
    }
    let mut fields = Map::new();
    fields.insert("index".into(), (*index).into());
    fields.insert("message".into(), message.into());
    fields.extend((audience.keep)(Object::Choice, &fields, extra));
    fields.insert("finish_reason".into(), json!(finish(reason)));
    fields.extend(native(reason));
    Ok(fields.into())
}
