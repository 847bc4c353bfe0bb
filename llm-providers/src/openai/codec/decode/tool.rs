use std::sync::Arc;

use llm_core::{Extra, Part, ToolCall};
use serde_json::Value;

use super::super::fields::{Fields, take_list, take_object, take_text};

/// Removes the tool calls from a message, including a call in the deprecated form `function_call`, which has no id.
pub(super) fn take_tool_calls(message: &mut Fields) -> Vec<Part> {
    let calls = take_list(message, "tool_calls").unwrap_or_default();
    let mut parts: Vec<Part> = calls.into_iter().map(tool_call).collect();
    if let Some(mut function) = take_object(message, "function_call") {
        let name = take_text(&mut function, "name").unwrap_or_default().into();
        let call = ToolCall { name, arguments: arguments(&mut function).into(), ..ToolCall::default() };
        parts.push(Part::ToolCall(call));
    }
    parts
}

/// Returns the arguments as JSON text. Some servers send them as an object.
pub(crate) fn arguments(function: &mut Fields) -> String {
    match function.remove("arguments") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    }
}

fn tool_call(value: Value) -> Part {
    let Value::Object(mut call) = value else { return Part::Other { value: Arc::new(value) } };
    let custom = call.get("type").is_some_and(|kind| kind == "custom");
    let is_function = call.get("type").is_none_or(|kind| kind.is_null() || kind == "function");
    let field = if custom { "custom" } else { "function" };
    let mut function = match take_object(&mut call, field) {
        Some(function) => function,
        None if is_function => Fields::new(),
        None => return Part::Other { value: Arc::new(Value::Object(call)) },
    };
    let id = take_text(&mut call, "id").unwrap_or_default().into();
    let name = take_text(&mut function, "name").unwrap_or_default().into();
    let arguments =
        if custom { take_text(&mut function, "input").unwrap_or_default() } else { arguments(&mut function) };
    call.remove("index");
    if !custom {
        call.remove("type");
    }
    if !function.is_empty() {
        call.insert(field.to_owned(), Value::Object(function));
    }
    Part::ToolCall(ToolCall { id, name, arguments: arguments.into(), extra: Extra::from(call) })
}
