use std::sync::Arc;

use llm_core::{
    ChatRequest, EmbedInput, EmbedRequest, Error, Extra, Tool,
    chat::{FunctionTool, JsonSchema, ResponseFormat, Sampling, ToolChoice},
};
use serde_json::Value;

use super::{
    fields::{Fields, given, some, take, wrong},
    message,
};

/// Request that the client sent, and the form of response that it asks for.
pub(super) struct ChatBody {
    pub(super) request: ChatRequest,
    pub(super) streamed: bool,
    /// True if the stream must end with a chunk that states its usage.
    pub(super) usage: bool,
}

/// Reads the body of a chat completion.
pub(super) fn chat(body: &[u8]) -> Result<ChatBody, Error> {
    let mut fields: Fields = parse(body)?;
    let streamed = take(&mut fields, "stream")?.unwrap_or(false);
    let usage = fields.get("stream_options").and_then(|options| options.get("include_usage")?.as_bool());
    let messages: Vec<Value> = take(&mut fields, "messages")?.unwrap_or_default();
    let tools: Vec<Value> = take(&mut fields, "tools")?.unwrap_or_default();
    let messages = messages.into_iter().enumerate().map(|(at, value)| message::read(value, at));
    let request = ChatRequest {
        model: take::<String>(&mut fields, "model")?.unwrap_or_default().into(),
        messages: Arc::new(messages.collect::<Result<_, _>>()?),
        tools: Arc::new(tools.into_iter().map(tool).collect()),
        tool_choice: some(&mut fields, "tool_choice").map(choice),
        parallel_tool_calls: take(&mut fields, "parallel_tool_calls")?,
        response_format: some(&mut fields, "response_format").map(format).transpose()?,
        reasoning_effort: take::<String>(&mut fields, "reasoning_effort")?.map(Arc::from),
        sampling: sampling(&mut fields)?,
        extra: Extra::from(given(fields)),
    };
    request.validate()?;
    Ok(ChatBody { request, streamed, usage: usage.unwrap_or(false) })
}

/// Reads the body of a request for embeddings. The second result is true if the vectors are requested as base64.
pub(super) fn embed(body: &[u8]) -> Result<(EmbedRequest, bool), Error> {
    let mut fields: Fields = parse(body)?;
    let format: Option<String> = take(&mut fields, "encoding_format")?;
    let base64 = match format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(wrong("encoding_format")),
    };
    let inputs = match fields.remove("input") {
        Some(Value::String(text)) => vec![EmbedInput::Text(text.into())],
        Some(Value::Array(list)) if list.iter().all(Value::is_number) && !list.is_empty() => {
            vec![tokens(Value::Array(list))?]
        }
        Some(Value::Array(list)) => list.into_iter().map(input).collect::<Result<_, _>>()?,
        _ => return Err(wrong("input")),
    };
    let request = EmbedRequest {
        model: take::<String>(&mut fields, "model")?.unwrap_or_default().into(),
        inputs: Arc::new(inputs),
        dimensions: take(&mut fields, "dimensions")?,
        extra: Extra::from(given(fields)),
    };
    request.validate()?;
    Ok((request, base64))
}

fn parse(body: &[u8]) -> Result<Fields, Error> {
    serde_json::from_slice(body).map_err(|_| Error::invalid("the request is no JSON object"))
}

fn sampling(fields: &mut Fields) -> Result<Sampling, Error> {
    let most = take(fields, "max_completion_tokens")?;
    let deprecated = take(fields, "max_tokens")?;
    if most.is_some() && deprecated.is_some() {
        return Err(Error::invalid("max_tokens and max_completion_tokens are both given: give one"));
    }
    let stop = match some(fields, "stop") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![text.into()],
        Some(list) => serde_json::from_value::<Vec<Arc<str>>>(list).map_err(|_| wrong("stop"))?,
    };
    Ok(Sampling {
        temperature: take(fields, "temperature")?,
        top_p: take(fields, "top_p")?,
        top_k: take(fields, "top_k")?,
        frequency_penalty: take(fields, "frequency_penalty")?,
        presence_penalty: take(fields, "presence_penalty")?,
        seed: take(fields, "seed")?,
        stop,
        n: take(fields, "n")?,
        max_output_tokens: most.or(deprecated),
        logprobs: take(fields, "logprobs")?,
        top_logprobs: take(fields, "top_logprobs")?,
    })
}

/// Converts a tool. A function with fields that this library does not know, or another kind of tool, is kept unchanged.
fn tool(value: Value) -> Tool {
    match function(&value) {
        Some(function) => Tool::Function(function),
        None => Tool::Other(Arc::new(value)),
    }
}

fn function(value: &Value) -> Option<FunctionTool> {
    let mut function = only(value, "function")?.clone();
    let name = take::<String>(&mut function, "name").ok()??.into();
    let description = take::<String>(&mut function, "description").ok()?.map(Arc::from);
    let strict = take(&mut function, "strict").ok()?;
    let parameters = some(&mut function, "parameters").map(Arc::new);
    Some(FunctionTool { name, description, parameters, strict, extra: Extra::from(given(function)) })
}

fn choice(value: Value) -> ToolChoice {
    let name = |value: &Value| match only(value, "function")? {
        function if function.len() == 1 => Some(Arc::from(function.get("name")?.as_str()?)),
        _ => None,
    };
    match value.as_str() {
        Some("auto") => ToolChoice::Auto,
        Some("none") => ToolChoice::None,
        Some("required") => ToolChoice::Required,
        _ => match name(&value) {
            Some(name) => ToolChoice::Function(name),
            None => ToolChoice::Other(Arc::new(value)),
        },
    }
}

fn format(value: Value) -> Result<ResponseFormat, Error> {
    match value.get("type").and_then(Value::as_str) {
        Some("text") => Ok(ResponseFormat::Text),
        Some("json_object") => Ok(ResponseFormat::JsonObject),
        Some("json_schema") => {
            let mut fields = only(&value, "json_schema").ok_or_else(|| wrong("response_format"))?.clone();
            let schema = JsonSchema {
                name: take::<String>(&mut fields, "name")?.ok_or_else(|| wrong("response_format"))?.into(),
                description: take::<String>(&mut fields, "description")?.map(Arc::from),
                schema: Arc::new(some(&mut fields, "schema").ok_or_else(|| wrong("response_format"))?),
                strict: take(&mut fields, "strict")?,
            };
            Ok(ResponseFormat::JsonSchema(schema))
        }
        _ => Err(wrong("response_format")),
    }
}

/// Returns the object in a field of `value`, if the only other field of `value` is `type`.
fn only<'v>(value: &'v Value, field: &str) -> Option<&'v Fields> {
    let fields = value.as_object()?;
    let tagged = fields.len() == 2 && fields.get("type").is_some_and(|kind| kind == field);
    fields.get(field).filter(|_| tagged)?.as_object()
}

fn input(value: Value) -> Result<EmbedInput, Error> {
    match value {
        Value::String(text) => Ok(EmbedInput::Text(text.into())),
        value => tokens(value),
    }
}

fn tokens(value: Value) -> Result<EmbedInput, Error> {
    let tokens: Vec<u32> = serde_json::from_value(value).map_err(|_| wrong("input"))?;
    Ok(EmbedInput::Tokens(tokens.into()))
}

#[cfg(test)]
mod tests {
    use llm_core::{ErrorKind, Operation};
    use serde_json::json;

    use super::*;
    use crate::openai::codec::{Dialect, encode_chat};

    fn read(body: &Value) -> Result<ChatBody, Error> {
        chat(body.to_string().as_bytes())
    }

    #[test]
    fn async_openai_request_round_trips() {
        let bodies = [
            json!({"model": "m", "messages": [
                {"role": "developer", "content": "Be short."},
                {"role": "user", "name": "Ann", "content": [{"type": "text", "text": "This?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                    {"type": "file", "file": {"file_id": "f"}}]},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{ \"a\": 1}"}},
                    {"id": "2", "type": "custom", "custom": {"name": "g", "input": "x"}}]},
                {"role": "tool", "tool_call_id": "1", "content": "sunny"},
                {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": null, "refusal": "no"},
                {"role": "assistant", "content": "", "audio": {"id": "a"}}]}),
            json!({"model": "m", "messages": [{"role": "user", "content": "x"}],
                "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": true}},
                    {"type": "custom", "custom": {"name": "g"}}],
                "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false,
                "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"},
                    "strict": true, "description": "d"}},
                "reasoning_effort": "low", "temperature": 0.5, "top_p": 0.25, "frequency_penalty": 1.0,
                "presence_penalty": -1.0, "seed": 9_007_199_254_740_993_i64, "stop": ["END"], "n": 2,
                "max_completion_tokens": 9, "logprobs": true, "top_logprobs": 2, "user": "u",
                "prediction": {"type": "content", "content": "x"}}),
            json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "tool_choice": "required",
                "response_format": {"type": "json_object"}, "stream": true, "stream_options": {"include_usage": true}}),
        ];
        for body in bodies {
            let ChatBody { request, streamed, usage } = read(&body).unwrap();
            assert_eq!((streamed, usage), (body["stream"] == true, body["stream"] == true));
            let sent = encode_chat(&request, Dialect::default(), streamed).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&sent).unwrap(), body);
        }
    }

    #[test]
    fn async_openai_remote_image_is_dependent() {
        for (url, alone) in [("data:image/png;base64,cG5n", true), ("https://example.com/a.png", false)] {
            let part = json!({"type": "image_url", "image_url": {"url": url}});
            let body = json!({"model": "m", "messages": [{"role": "user", "content": [part]}]});
            assert_eq!(read(&body).unwrap().request.is_self_contained(), alone);
        }
    }

    #[test]
    fn async_openai_invalid_request_is_named() {
        let user = json!([{"role": "user", "content": "x"}]);
        for (body, field) in [
            (json!({"messages": user}), "model"),
            (json!({"model": "m"}), "messages"),
            (json!({"model": "m", "messages": [{"role": "x"}]}), "messages[0].role"),
            (
                json!({"model": "m", "messages": [{"role": "function", "name": "f", "content": "x"}]}),
                "messages[0].role",
            ),
            (json!({"model": "m", "messages": [{"role": "tool", "content": "x"}]}), "messages[0].tool_call_id"),
            (json!({"model": "m", "messages": user, "temperature": "hot"}), "temperature"),
            (json!({"model": "m", "messages": user, "n": -1}), "n "),
            (json!({"model": "m", "messages": user, "max_tokens": 1, "max_completion_tokens": 2}), "max_tokens"),
            (json!({"model": "m", "messages": user, "response_format": {"type": "xml"}}), "response_format"),
        ] {
            let error = read(&body).err().unwrap();
            assert!(matches!(error.kind(), ErrorKind::InvalidRequest | ErrorKind::Unsupported), "{error:?}");
            assert!(error.message().contains(field), "{error} names {field}");
        }
    }
}
