use base64::{Engine, engine::general_purpose::STANDARD};
use llm_core::{ChatResponse, Choice, Embeddings, Error, ErrorKind, FinishReason, Part, Reasoning, ToolCall, Usage};
use serde_json::{Map, Value, json};

use super::request::Fields;

/// The answer to a chat completion.
pub(super) fn chat(answer: &ChatResponse, usage: Option<Usage>) -> Result<Value, Error> {
    let choices = answer.choices.iter().map(choice).collect::<Result<Vec<_>, _>>()?;
    let mut fields = head("chat.completion", &answer.id, &answer.model);
    fields.insert("choices".into(), choices.into());
    fields.extend(answer.extra.iter().map(|(name, value)| (name.to_owned(), value.clone())));
    if let Some(usage) = usage {
        tell(usage, &mut fields);
    }
    Ok(Value::Object(fields))
}

/// The answer to a request for embeddings.
pub(super) fn embeddings(answer: &Embeddings, usage: Option<Usage>, base64: bool) -> Value {
    let vector = |vector: &[f32]| match base64 {
        true => STANDARD.encode(vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>()).into(),
        false => json!(vector),
    };
    let data = answer
        .vectors
        .iter()
        .enumerate()
        .map(|(at, numbers)| json!({ "object": "embedding", "index": at, "embedding": vector(numbers) }));
    let input = usage.map_or(0, |usage| usage.input);
    json!({
        "object": "list",
        "data": data.collect::<Vec<_>>(),
        "model": &*answer.model,
        "usage": { "prompt_tokens": input, "total_tokens": usage.map_or(input, |usage| usage.total()) },
    })
}

/// What every answer and every chunk begins with. `created` has to be there; the vendor's replaces it.
pub(super) fn head(object: &str, id: &str, model: &str) -> Fields {
    let mut fields = Map::new();
    fields.insert("id".into(), id.into());
    fields.insert("object".into(), object.into());
    fields.insert("created".into(), 0.into());
    fields.insert("model".into(), model.into());
    fields
}

/// Tokens in OpenAI's words, beside what else the vendor told under `usage`.
pub(super) fn tell(usage: Usage, fields: &mut Fields) {
    let told = json!({
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
    match (fields.get_mut("usage"), told) {
        (Some(Value::Object(known)), Value::Object(told)) => known.extend(told),
        (_, told) => drop(fields.insert("usage".into(), told)),
    }
}

/// Nothing where the vendor told nothing.
pub(super) fn finish(reason: &FinishReason) -> Option<String> {
    (*reason != FinishReason::Unknown).then(|| reason.to_string())
}

/// A tool call as OpenAI writes it.
pub(super) fn called(call: &ToolCall) -> Value {
    let ToolCall { id, name, arguments, extra } = call;
    let custom = extra.get("type").is_some_and(|kind| kind == "custom");
    let mut fields = Map::new();
    fields.insert("id".into(), Value::from(&**id));
    if custom {
        fields.insert("custom".into(), json!({ "name": &**name, "input": &**arguments }));
    } else {
        fields.insert("type".into(), "function".into());
        fields.insert("function".into(), json!({ "name": &**name, "arguments": &**arguments }));
    }
    fields.extend(extra.iter().map(|(name, value)| (name.to_owned(), value.clone())));
    Value::Object(fields)
}

/// A part that OpenAI's answers cannot hold.
pub(super) fn placeless(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} in the answer has no place in OpenAI's format"))
}

fn choice(choice: &Choice) -> Result<Value, Error> {
    let Choice { index, parts, finish: reason, extra, message_extra, .. } = choice;
    let (mut text, mut thoughts, mut refusal) = (None::<String>, String::new(), None::<String>);
    let mut calls = Vec::new();
    for part in parts {
        match part {
            Part::Text { text: more, .. } => text.get_or_insert_default().push_str(more),
            Part::Refusal { text: more } => refusal.get_or_insert_default().push_str(more),
            Part::Reasoning(Reasoning { text: more, .. }) => thoughts.push_str(more),
            Part::ToolCall(call) => calls.push(called(call)),
            Part::Image(_) => return Err(placeless("an image")),
            Part::ToolResult(_) => return Err(placeless("a tool's result")),
            Part::Other { .. } => return Err(placeless("a part without a name")),
        }
    }
    let mut message = Map::new();
    message.insert("role".into(), "assistant".into());
    message.insert("content".into(), json!(text));
    message.insert("refusal".into(), json!(refusal));
    if !thoughts.is_empty() {
        message.insert("reasoning_content".into(), thoughts.into());
    }
    if !calls.is_empty() {
        message.insert("tool_calls".into(), calls.into());
    }
    message.extend(message_extra.iter().map(|(name, value)| (name.to_owned(), value.clone())));
    let mut fields = Map::new();
    fields.insert("index".into(), (*index).into());
    fields.insert("message".into(), message.into());
    fields.insert("finish_reason".into(), json!(finish(reason)));
    fields.extend(extra.iter().map(|(name, value)| (name.to_owned(), value.clone())));
    Ok(fields.into())
}
