//! Conversion of Gemini's requests into OpenAI's form.

use crate::conversation::{content, inline_image, linked_image, response_format, text, tool, tool_call, tool_choice};
use serde_json::{Map, Value, json};

/// Fields of `generationConfig`, each with its name in OpenAI's format.
const NAMES: [(&str, &str); 12] = [
    ("maxOutputTokens", "max_tokens"),
    ("candidateCount", "n"),
    ("stopSequences", "stop"),
    ("temperature", "temperature"),
    ("topP", "top_p"),
    ("topK", "top_k"),
    ("seed", "seed"),
    ("presencePenalty", "presence_penalty"),
    ("frequencyPenalty", "frequency_penalty"),
    ("responseLogprobs", "logprobs"),
    ("logprobs", "top_logprobs"),
    ("thinkingConfig", "thinking"),
];

/// Converts a `generateContent` request for `model` into OpenAI's form, which
/// [`response_hash`](crate::openai::response_hash) and [`tokens`](crate::tokens) read.
///
/// Names may be in camel or in snake case. Fields that OpenAI's format does not have keep their names.
pub fn as_openai(model: &str, body: &Value) -> Value {
    let mut to = Map::new();
    to.insert("model".into(), json!(model));
    let mut messages = Vec::new();
    for (name, value) in body.as_object().into_iter().flatten() {
        match camel(name).as_str() {
            "systemInstruction" => messages.insert(0, json!({"role": "system", "content": content(parts(value))})),
            "contents" => messages.extend(value.as_array().into_iter().flatten().flat_map(message)),
            "generationConfig" => config(&mut to, value),
            "tools" => drop(to.insert("tools".into(), tools(value))),
            "toolConfig" => to.extend(choice(value).map(|choice| ("tool_choice".into(), choice))),
            // NOTE: these fields belong to another vendor's format, and would replace converted fields.
            "model" | "messages" | "stream" | "n" => {}
            other => drop(to.insert(other.into(), value.clone())),
        }
    }
    to.insert("messages".into(), messages.into());
    Value::Object(to)
}

/// Returns a field, by its name in camel or in snake case.
pub(super) fn field<'v>(value: &'v Value, name: &str) -> &'v Value {
    let fields = value.as_object().into_iter().flatten();
    fields.into_iter().find(|(key, _)| camel(key) == name).map_or(&Value::Null, |(_, value)| value)
}

/// Returns the joined texts of a content's parts.
pub(super) fn joined_text(content: &Value) -> String {
    let parts = content["parts"].as_array().map_or(&[][..], Vec::as_slice);
    parts.iter().filter_map(|part| part["text"].as_str()).collect()
}

fn config(to: &mut Map<String, Value>, config: &Value) {
    let schema =
        [field(config, "responseSchema"), field(config, "responseJsonSchema")].into_iter().find(|s| !s.is_null());
    if field(config, "responseMimeType") == "application/json" {
        to.insert("response_format".into(), response_format(&schema.map_or(Value::Null, lower)));
    }
    for (name, value) in config.as_object().into_iter().flatten() {
        let name = camel(name);
        if ["responseSchema", "responseJsonSchema", "responseMimeType"].contains(&name.as_str()) {
            continue;
        }
        let known = NAMES.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| (*ours).to_owned());
        to.insert(known.unwrap_or(name), value.clone());
    }
}

/// Returns a schema with the names of types in lower case, as in JSON Schema, because Gemini's names are in capitals.
fn lower(schema: &Value) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(lower).collect(),
        Value::Object(fields) => {
            let one = |(name, value): (&String, &Value)| match value.as_str().filter(|_| name == "type") {
                Some(kind) => (name.clone(), json!(kind.to_lowercase())),
                None => (name.clone(), lower(value)),
            };
            Value::Object(fields.iter().map(one).collect())
        }
        other => other.clone(),
    }
}

fn tools(tools: &Value) -> Value {
    let mut all = Vec::new();
    for one in tools.as_array().into_iter().flatten() {
        let declarations = field(one, "functionDeclarations");
        match declarations.as_array() {
            None => all.push(one.clone()),
            Some(declarations) => all.extend(declarations.iter().map(|function| {
                let own = field(function, "parametersJsonSchema");
                let parameters = if own.is_null() { lower(&function["parameters"]) } else { own.clone() };
                tool(&function["name"], &function["description"], &parameters)
            })),
        }
    }
    all.into()
}

fn choice(config: &Value) -> Option<Value> {
    let calling = field(config, "functionCallingConfig");
    match calling["mode"].as_str()? {
        "ANY" => {
            let names = field(calling, "allowedFunctionNames").as_array().map_or(&[][..], Vec::as_slice);
            Some(tool_choice(&names.iter().collect::<Vec<_>>()))
        }
        "NONE" => Some(json!("none")),
        _ => None,
    }
}

/// Converts a message into one or more messages, because OpenAI's format has a separate message for each tool result.
fn message(message: &Value) -> Vec<Value> {
    let given = message["parts"].as_array().map_or(&[][..], Vec::as_slice);
    let called = |name: &'static str| given.iter().map(move |part| field(part, name)).filter(|call| !call.is_null());
    let results = called("functionResponse").map(|result| {
        let text = result["response"].to_string();
        json!({"role": "tool", "tool_call_id": result["id"], "name": result["name"], "content": text})
    });
    let mut messages: Vec<_> = results.collect();
    let calls: Vec<_> =
        called("functionCall").map(|call| tool_call(&call["id"], &call["name"], &call["args"])).collect();
    let said = content(parts(message));
    if messages.is_empty() || !said.is_null() {
        let role = if message["role"] == "model" { "assistant" } else { "user" };
        let mut own = json!({"role": role, "content": said});
        if !calls.is_empty() {
            own["tool_calls"] = calls.into();
        }
        messages.push(own);
    }
    messages
}

/// Returns the parts of content that are neither function calls nor results of functions.
fn parts(content: &Value) -> Vec<Value> {
    let parts = content["parts"].as_array().map_or(std::slice::from_ref(&content["parts"]), Vec::as_slice);
    parts.iter().filter_map(part).collect()
}

fn part(part: &Value) -> Option<Value> {
    let (inline, file) = (field(part, "inlineData"), field(part, "fileData"));
    if part.is_null() || !field(part, "functionCall").is_null() || !field(part, "functionResponse").is_null() {
        None
    } else if part["thought"] == true {
        Some(json!({"type": "thinking", "text": part["text"]}))
    } else if part["text"].is_string() {
        Some(text(&part["text"]))
    } else if inline.is_object() {
        Some(inline_image(field(inline, "mimeType"), &inline["data"]))
    } else if file.is_object() {
        Some(linked_image(field(file, "fileUri")))
    } else {
        Some(part.clone())
    }
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let head = words.next().unwrap_or_default().to_owned();
    words.fold(head, |name, word| {
        let mut letters = word.chars();
        name + &letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::response_hash;

    #[test]
    fn response_hash_is_equal_for_equal_conversations() {
        let body = json!({"systemInstruction": {"parts": [{"text": "be brief"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": "AA=="}}]},
                {"role": "model", "parts": [{"functionCall": {"id": "t", "name": "f", "args": {"b": 1, "a": 2}}}]},
                {"role": "user", "parts": [{"functionResponse": {"id": "t", "name": "f", "response": {"x": 3}}}]}],
            "generationConfig": {"maxOutputTokens": 9, "stopSequences": ["x"], "responseMimeType": "application/json",
                "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}}},
            "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}});
        let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
        let equal = json!({"model": "m", "max_tokens": 9, "stop": ["x"],
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "hi"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
                {"role": "assistant", "content": null, "tool_calls":
                    [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"a\":2,\"b\":1}"}}]},
                {"role": "tool", "tool_call_id": "t", "name": "f", "content": "{\"x\":3}"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}},
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}}});
        assert_eq!(as_openai("m", &body), equal);
        assert_eq!(response_hash(&as_openai("m", &body)), response_hash(&equal));
    }

    #[test]
    fn gemini_accepts_snake_case() {
        let snake =
            json!({"system_instruction": {"parts": [{"text": "a"}]}, "generation_config": {"max_output_tokens": 3}});
        let camel =
            json!({"systemInstruction": {"parts": [{"text": "a"}]}, "generationConfig": {"maxOutputTokens": 3}});
        assert_eq!(as_openai("m", &snake), as_openai("m", &camel));
    }
}
