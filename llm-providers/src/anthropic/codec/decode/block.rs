use std::sync::Arc;

use llm_core::{Extra, Part, ToolCall, chat::Reasoning};
use serde_json::Value;

use crate::protocol::fields::{Fields, take_text};

/// Reads a block of a response; returns `None` if the block is an empty text.
///
/// The `input` of a tool call may be JSON text instead of an object, because text keeps digits that a JSON number of
/// this library cannot hold.
///
/// A block of a kind that this library does not know (a vendor's own tools and their results) is kept as the vendor
/// wrote it, except for digits of numbers that neither a 64-bit integer nor a double can hold. Redacted thinking
/// becomes reasoning without text: its `data` is the signature, and its `type` an unknown field.
pub(crate) fn read_block(block: Value) -> Option<Part> {
    let Value::Object(mut fields) = block else { return Some(Part::Other { value: Arc::new(block) }) };
    let text = |name: &str| fields.get(name).is_some_and(Value::is_string);
    match fields.get("type").and_then(Value::as_str) {
        Some("text") if text("text") => {
            fields.remove("type");
            let text = take_text(&mut fields, "text").unwrap_or_default();
            let extra = unknown_fields(fields);
            (!text.is_empty() || !extra.is_empty()).then(|| Part::Text { text: text.into(), extra })
        }
        Some("thinking") if text("thinking") => {
            fields.remove("type");
            let text = take_text(&mut fields, "thinking").unwrap_or_default().into();
            let signature =
                take_text(&mut fields, "signature").filter(|signature| !signature.is_empty()).map(Arc::from);
            Some(Part::Reasoning(Reasoning { text, signature, extra: Extra::from(fields) }))
        }
        Some("redacted_thinking") if text("data") => {
            let signature = take_text(&mut fields, "data").map(Arc::from);
            Some(Part::Reasoning(Reasoning { text: "".into(), signature, extra: Extra::from(fields) }))
        }
        Some("tool_use") if text("name") => {
            fields.remove("type");
            Some(Part::ToolCall(tool_call(fields)))
        }
        _ => {
            whole(&mut fields);
            Some(Part::Other { value: Arc::new(Value::Object(fields)) })
        }
    }
}

fn tool_call(mut fields: Fields) -> ToolCall {
    let id = take_text(&mut fields, "id").unwrap_or_default().into();
    let name = take_text(&mut fields, "name").unwrap_or_default().into();
    let arguments = match fields.remove("input") {
        None | Some(Value::Null) => "{}".into(),
        Some(Value::String(text)) => text.into(),
        Some(input) => input.to_string().into(),
    };
    ToolCall { id, name, arguments, extra: Extra::from(fields) }
}

/// Turns the JSON text in the `input` of a block that is not a tool call back into JSON.
fn whole(fields: &mut Fields) {
    if let Some(Value::String(text)) = fields.get("input")
        && text.starts_with(['{', '['])
        && let Ok(input) = serde_json::from_str(text)
    {
        fields.insert("input".to_owned(), input);
    }
}

/// Returns the unknown fields of a text block. An empty list of citations is left out.
fn unknown_fields(mut fields: Fields) -> Extra {
    if fields.get("citations").is_some_and(|list| list.is_null() || list.as_array().is_some_and(Vec::is_empty)) {
        fields.remove("citations");
    }
    Extra::from(fields)
}
