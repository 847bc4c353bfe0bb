//! Conversion of recorded requests to `ChatRequest` and `EmbedRequest`.

use std::sync::Arc;

use llm_providers::llm_core::{
    ChatRequest, EmbedInput, EmbedRequest, Extra, Message, Part, Role, Tool, ToolCall, ToolResult,
    chat::{FunctionTool, Image, ImageSource, JsonSchema, ResponseFormat, ToolChoice},
};
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// Returns a chat request, and whether it asked for a stream.
pub(super) fn chat(body: &Value) -> (ChatRequest, bool) {
    let mut fields = body.as_object().unwrap().clone();
    let mut request = ChatRequest::new(text(&mut fields, "model").unwrap());
    for value in list(&mut fields, "messages") {
        request = request.message(message(value));
    }
    request.tools = list(&mut fields, "tools").into_iter().map(tool).collect::<Vec<_>>().into();
    request.tool_choice = fields.remove("tool_choice").map(tool_choice);
    request.response_format = fields.remove("response_format").map(format);
    request.reasoning_effort = text(&mut fields, "reasoning_effort").map(Into::into);
    let sampling = &mut request.sampling;
    let mut number = |name: &str| fields.remove(name).and_then(|value| value.as_f64());
    sampling.temperature = number("temperature");
    sampling.top_p = number("top_p");
    sampling.frequency_penalty = number("frequency_penalty");
    sampling.presence_penalty = number("presence_penalty");
    sampling.seed = number("random_seed").or_else(|| number("seed")).map(|seed| seed as i64);
    sampling.n = number("n").map(|n| n as u32);
    sampling.max_output_tokens =
        number("max_tokens").or_else(|| number("max_completion_tokens")).map(|most| most as u64);
    sampling.stop = list(&mut fields, "stop").into_iter().map(|stop| stop.as_str().unwrap().into()).collect();
    fields.remove("stop");
    let streamed = fields.remove("stream") == Some(Value::Bool(true));
    request.extra = Extra::from(fields);
    (request, streamed)
}

/// Returns an embeddings request.
pub(super) fn embed(body: &Value) -> EmbedRequest {
    let mut fields = body.as_object().unwrap().clone();
    fields.retain(|_, value| !value.is_null());
    let input = |value: &Value| EmbedInput::Text(value.as_str().unwrap().into());
    let inputs = match fields.remove("input").unwrap() {
        Value::Array(list) => list.iter().map(input).collect(),
        one => vec![input(&one)],
    };
    let mut request = EmbedRequest::new(text(&mut fields, "model").unwrap(), [""; 0]);
    request.inputs = Arc::new(inputs);
    request.dimensions = fields.remove("dimensions").map(|length| length.as_u64().unwrap() as u32);
    request.extra = Extra::from(fields);
    request
}

fn message(value: Value) -> Message {
    let Value::Object(mut fields) = value else { panic!("a message is an object") };
    let role = match text(&mut fields, "role").as_deref() {
        Some("system") => Role::System,
        Some("developer") => Role::Developer,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool") => Role::Tool,
        other => panic!("no such role: {other:?}"),
    };
    let mut parts = content(fields.remove("content"));
    parts.extend(list(&mut fields, "tool_calls").into_iter().map(call));
    if let Some(id) = text(&mut fields, "tool_call_id") {
        let result = ToolResult { call_id: id.into(), content: parts, is_error: false, extra: Extra::default() };
        parts = vec![Part::ToolResult(result)];
    }
    let mut message = Message::new(role, parts);
    message.name = text(&mut fields, "name").map(Into::into);
    message.extra = Extra::from(fields);
    message
}

fn content(value: Option<Value>) -> Vec<Part> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) if text.is_empty() => Vec::new(),
        Some(Value::String(text)) => vec![Part::text(text)],
        Some(Value::Array(list)) => list.into_iter().map(part).collect(),
        Some(other) => panic!("no content: {other}"),
    }
}

fn part(value: Value) -> Part {
    let mut fields = value.as_object().unwrap().clone();
    match fields.remove("type").as_ref().and_then(Value::as_str) {
        Some("text") => Part::Text { text: text(&mut fields, "text").unwrap().into(), extra: Extra::from(fields) },
        Some("image_url") if value["image_url"].is_object() => {
            let Some(Value::Object(mut image)) = fields.remove("image_url") else { panic!("no image: {value}") };
            let source = ImageSource::Url { url: text(&mut image, "url").unwrap().into() };
            let detail = text(&mut image, "detail").map(Into::into);
            Part::Image(Image { source, detail, extra: Extra::from(fields) })
        }
        _ => Part::Other { value: Arc::new(value) },
    }
}

fn call(value: Value) -> Part {
    let Value::Object(mut fields) = value else { panic!("a call is an object") };
    fields.remove("type");
    let Some(Value::Object(mut function)) = fields.remove("function") else { panic!("a call without a function") };
    Part::ToolCall(ToolCall {
        id: text(&mut fields, "id").unwrap().into(),
        name: text(&mut function, "name").unwrap().into(),
        arguments: text(&mut function, "arguments").unwrap().into(),
        extra: Extra::from(fields),
    })
}

fn tool(value: Value) -> Tool {
    let Some(Value::Object(mut function)) = value.get("function").cloned() else { return Tool::Other(Arc::new(value)) };
    if let Some(beside) = value.get("cache_control") {
        function.insert("cache_control".to_owned(), beside.clone());
    }
    Tool::Function(FunctionTool {
        name: text(&mut function, "name").unwrap().into(),
        description: text(&mut function, "description").map(Into::into),
        parameters: function.remove("parameters").map(Arc::new),
        strict: function.remove("strict").and_then(|strict| strict.as_bool()),
        extra: Extra::from(function),
    })
}

fn tool_choice(value: Value) -> ToolChoice {
    match value.as_str() {
        Some("auto") => ToolChoice::Auto,
        Some("none") => ToolChoice::None,
        Some("required" | "any") => ToolChoice::Required,
        _ => ToolChoice::Other(Arc::new(value)),
    }
}

fn format(value: Value) -> ResponseFormat {
    let schema = &value["json_schema"];
    ResponseFormat::JsonSchema(JsonSchema {
        name: schema["name"].as_str().unwrap().into(),
        description: schema["description"].as_str().map(Into::into),
        schema: Arc::new(schema["schema"].clone()),
        strict: schema["strict"].as_bool(),
    })
}

fn text(fields: &mut Fields, name: &str) -> Option<String> {
    match fields.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn list(fields: &mut Fields, name: &str) -> Vec<Value> {
    match fields.remove(name) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}
