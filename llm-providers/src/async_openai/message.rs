use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use llm_core::{
    Error, ErrorKind, Extra, Message, Part, Role, ToolCall, ToolResult,
    chat::{Image, ImageSource},
};
use serde_json::Value;

use super::fields::{Fields, given, some, take, wrong};

/// Reads a message, whose index in the conversation is `at`.
pub(super) fn read(value: Value, at: usize) -> Result<Message, Error> {
    let here = format!("messages[{at}]");
    let Value::Object(mut fields) = value else { return Err(wrong(&here)) };
    let role = match take::<String>(&mut fields, "role")?.as_deref() {
        Some("system") => Role::System,
        Some("developer") => Role::Developer,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool") => Role::Tool,
        Some("function") => {
            return Err(Error::new(ErrorKind::Unsupported, format!("{here}.role function is out of use: take tool")));
        }
        _ => return Err(wrong(&format!("{here}.role"))),
    };
    let mut parts = match some(&mut fields, "content") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![Part::text(text)],
        Some(Value::Array(list)) => list.into_iter().map(part).collect(),
        Some(_) => return Err(wrong(&format!("{here}.content"))),
    };
    if role == Role::Tool {
        let call_id =
            take::<String>(&mut fields, "tool_call_id")?.ok_or_else(|| wrong(&format!("{here}.tool_call_id")))?;
        let result = ToolResult { call_id: call_id.into(), content: parts, is_error: false, extra: Extra::default() };
        parts = vec![Part::ToolResult(result)];
    }
    if let Some(text) = take::<String>(&mut fields, "refusal")? {
        parts.push(Part::Refusal { text: text.into() });
    }
    let calls: Vec<Value> = take(&mut fields, "tool_calls")?.unwrap_or_default();
    for call in calls {
        parts.push(Part::ToolCall(called(call).ok_or_else(|| wrong(&format!("{here}.tool_calls")))?));
    }
    if parts.is_empty() {
        parts.push(Part::text(""));
    }
    let name = take::<String>(&mut fields, "name")?.map(Arc::from);
    Ok(Message { role, parts, name, extra: Extra::from(given(fields)) })
}

/// Converts a part of a message. A part of an unknown kind is kept unchanged.
fn part(value: Value) -> Part {
    match known(&value) {
        Some(part) => part,
        None => Part::Other { value: Arc::new(value) },
    }
}

fn known(value: &Value) -> Option<Part> {
    let mut fields = value.as_object()?.clone();
    let kind = take::<String>(&mut fields, "type").ok()??;
    match kind.as_str() {
        "text" => {
            let text = take::<String>(&mut fields, "text").ok()??;
            Some(Part::Text { text: text.into(), extra: Extra::from(given(fields)) })
        }
        "refusal" if fields.len() == 1 => {
            let text = take::<String>(&mut fields, "refusal").ok()??;
            Some(Part::Refusal { text: text.into() })
        }
        "image_url" => {
            let mut image: Fields = take(&mut fields, "image_url").ok()??;
            let url = take::<String>(&mut image, "url").ok()??;
            let detail = take::<String>(&mut image, "detail").ok()?.map(Arc::from);
            let image_of = |source| Part::Image(Image { source, detail, extra: Extra::from(given(fields)) });
            image.is_empty().then(|| image_of(source(url)))
        }
        _ => None,
    }
}

/// Returns the bytes of an image whose URL contains them, so that the request refers to nothing outside and its
/// response can be cached.
fn source(url: String) -> ImageSource {
    let inside = |url: &str| {
        let (media_type, text) = url.strip_prefix("data:")?.split_once(";base64,")?;
        let data = STANDARD.decode(text).ok()?;
        Some(ImageSource::Bytes { media_type: media_type.into(), data: data.into() })
    };
    inside(&url).unwrap_or_else(|| ImageSource::Url { url: url.into() })
}

fn called(value: Value) -> Option<ToolCall> {
    let Value::Object(mut fields) = value else { return None };
    let id = take::<String>(&mut fields, "id").ok()??.into();
    let custom = fields.get("type").is_some_and(|kind| kind == "custom");
    let (field, text) = if custom { ("custom", "input") } else { ("function", "arguments") };
    if !custom {
        fields.remove("type");
    }
    let mut function: Fields = take(&mut fields, field).ok()??;
    let name = take::<String>(&mut function, "name").ok()??.into();
    let arguments = take::<String>(&mut function, text).ok()??.into();
    Some(ToolCall { id, name, arguments, extra: Extra::from(given(fields)) })
}
