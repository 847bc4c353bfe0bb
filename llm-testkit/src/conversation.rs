//! Conversion of other vendors' request parts into OpenAI's form.

use serde_json::{Map, Value, json};

/// Makes the content of a message from parts. A single text becomes a string, and an empty list becomes `null`.
pub(crate) fn content(mut parts: Vec<Value>) -> Value {
    match parts.as_mut_slice() {
        [] => Value::Null,
        [part] if part["type"] == "text" => part["text"].take(),
        _ => parts.into(),
    }
}

/// Returns a part of content with a text.
pub(crate) fn text(text: &Value) -> Value {
    json!({"type": "text", "text": text})
}

/// Returns a part with an image that the request contains in base64.
pub(crate) fn inline_image(media_type: &Value, data: &Value) -> Value {
    let [media_type, data] = [media_type, data].map(|value| value.as_str().unwrap_or_default());
    linked_image(&json!(format!("data:{media_type};base64,{data}")))
}

/// Returns a part with an image at a URL.
pub(crate) fn linked_image(url: &Value) -> Value {
    json!({"type": "image_url", "image_url": {"url": url}})
}

/// Returns a tool call, from arguments that are an object.
pub(crate) fn tool_call(id: &Value, name: &Value, arguments: &Value) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": sorted(arguments).to_string()}})
}

/// Returns the definition of a tool.
pub(crate) fn tool(name: &Value, description: &Value, parameters: &Value) -> Value {
    let mut function = json!({"name": name, "parameters": parameters});
    if !description.is_null() {
        function["description"] = description.clone();
    }
    json!({"type": "function", "function": function})
}

/// Returns a tool choice that demands a call of one of these tools; of any tool, if no name is given.
pub(crate) fn tool_choice(names: &[&Value]) -> Value {
    let function = |name: &Value| json!({"type": "function", "function": {"name": name}});
    match names {
        [] => json!("required"),
        [name] => function(name),
        _ => {
            let tools: Vec<_> = names.iter().map(|name| function(name)).collect();
            json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": tools}})
        }
    }
}

/// Returns the response format for JSON that follows `schema`, or for any JSON object if it is `null`.
pub(crate) fn response_format(schema: &Value) -> Value {
    match schema {
        Value::Null => json!({"type": "json_object"}),
        _ => json!({"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}),
    }
}

/// Returns the JSON text with sorted keys, so that it does not depend on a feature of serde_json.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            Value::Object(fields.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}
