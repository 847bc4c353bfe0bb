//! Tests with recorded traffic of Anthropic in the directory `LLM_CASSETTES`. Each request is encoded again from this
//! crate's types, and each response is compared with a naive reading of its JSON.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use llm_providers::llm_core::{
    ChatRequest, ChatResponse, ErrorKind, FinishReason, Message, Part, Role, Tool, ToolCall, ToolResult, Usage,
    chat::{JsonSchema, Reasoning, ResponseFormat},
};
use serde_json::{Value, json};

use crate::{
    anthropic::stream::play,
    streaming::{Canned, block_on, cuts, is_full},
};

use crate::codec::anthropic::{Options, classify, decode_chat, decode_count, encode_chat, encode_count, vendor_limits};

struct Recording {
    id: String,
    counts: bool,
    streamed: bool,
    request: Value,
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

#[expect(clippy::disallowed_methods, reason = "this is the test's edge")]
fn place() -> Option<PathBuf> {
    std::env::var_os("LLM_CASSETTES").filter(|place| !place.is_empty()).map(PathBuf::from)
}

#[test]
fn anthropic_recordings_encode_and_decode_as_recorded() {
    let Some(place) = place() else {
        println!("skipped: LLM_CASSETTES is not set");
        return;
    };
    let recordings = load(&place);
    assert_eq!(recordings.len(), 32);
    let written = recordings.iter().filter(|recording| request(recording)).count();
    assert_eq!(written, 31, "all but a conversation that is none");
    for recording in &recordings {
        match recording {
            Recording { status: 400.., .. } => refusal(recording),
            Recording { counts: true, .. } => count(recording),
            Recording { streamed: true, .. } => stream(recording),
            _ => response(recording),
        }
        limits(recording);
    }
}

fn load(place: &Path) -> Vec<Recording> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(place.join("anthropic")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
    let all = files.iter().filter_map(|file| {
        let recorded: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let api = recorded["api"].as_str().unwrap();
        let response = &recorded["response"];
        let body = match &response["body_file"] {
            Value::String(name) => fs::read(file.with_file_name(Path::new(name).file_name().unwrap())).unwrap().into(),
            _ => response["body"].to_string().into(),
        };
        let headers = response["headers"].as_object().into_iter().flatten();
        let headers = headers.filter_map(|(name, value)| Some((name.parse().ok()?, value.as_str()?.parse().ok()?)));
        matches!(api, "messages" | "count-tokens" | "count_tokens").then(|| Recording {
            id: recorded["id"].as_str().unwrap().to_owned(),
            counts: api != "messages",
            streamed: recorded["stream"] == true,
            request: recorded["request"]["body"].clone(),
            status: u16::try_from(response["status"].as_u64().unwrap()).unwrap(),
            headers: headers.collect(),
            body,
        })
    });
    all.collect()
}

/// Writes the recorded request again. Differences: a text may stand alone or in a list, a whole number with or
/// without a fraction, `stream` may be set to false; where our types cannot say it at all, there is nothing to compare.
fn request(recording: &Recording) -> bool {
    let Recording { id, counts, request: recorded, .. } = recording;
    let Some(ours) = ours(recorded) else { return false };
    let streamed = recorded["stream"] == true;
    let sent = match counts {
        true => encode_count(&ours, Options::default()).unwrap(),
        false => encode_chat(&ours, Options::default(), streamed).unwrap(),
    };
    let mut recorded = recorded.clone();
    if !streamed {
        recorded.as_object_mut().unwrap().remove("stream");
    }
    assert_eq!(alike(serde_json::from_slice(&sent).unwrap()), alike(recorded), "{id}");
    true
}

/// Normalises a body: a single text becomes a list, and a temperature of 1 becomes 1.0.
fn alike(mut body: Value) -> Value {
    if let Some(temperature) = body.get("temperature").and_then(Value::as_f64) {
        body["temperature"] = temperature.into();
    }
    let listed = |content: &mut Value| {
        if let Value::String(text) = content {
            *content = json!([{"type": "text", "text": text}]);
        }
    };
    for message in body["messages"].as_array_mut().unwrap() {
        listed(&mut message["content"]);
        for block in message["content"].as_array_mut().unwrap() {
            if block["type"] == "tool_result" {
                listed(&mut block["content"]);
            }
        }
    }
    body
}

fn ours(body: &Value) -> Option<ChatRequest> {
    let mut ours = ChatRequest::new(body["model"].as_str()?);
    if let Some(system) = body.get("system") {
        ours = ours.message(Message::new(Role::System, parts(system)?));
    }
    for message in body["messages"].as_array()? {
        let parts = parts(message.get("content")?)?;
        let results = parts.iter().any(|part| matches!(part, Part::ToolResult(_)));
        let role = match message["role"].as_str()? {
            "assistant" => Role::Assistant,
            _ if results => Role::Tool,
            _ => Role::User,
        };
        ours = ours.message(Message::new(role, parts));
    }
    for tool in body["tools"].as_array().into_iter().flatten() {
        let (name, description) = (tool["name"].as_str()?, tool["description"].as_str()?);
        ours = ours.tool(Tool::function(name, description, tool["input_schema"].clone()));
    }
    ours.sampling.max_output_tokens = body["max_tokens"].as_u64();
    ours.sampling.temperature = body["temperature"].as_f64();
    ours.reasoning_effort = body["output_config"]["effort"].as_str().map(Into::into);
    if let Some(schema) = body["output_config"]["format"].get("schema") {
        let (name, schema) = ("any".into(), schema.clone().into());
        ours.response_format =
            Some(ResponseFormat::JsonSchema(JsonSchema { name, description: None, schema, strict: None }));
    }
    match body.get("thinking") {
        Some(thinking) => Some(ours.extra("thinking", thinking.clone())),
        None => Some(ours),
    }
}

fn parts(content: &Value) -> Option<Vec<Part>> {
    match content {
        Value::String(text) => Some(vec![Part::text(&**text)]),
        Value::Array(blocks) => blocks.iter().map(part).collect(),
        _ => None,
    }
}

fn part(block: &Value) -> Option<Part> {
    let text = |name: &str| block[name].as_str();
    let part = match text("type")? {
        "text" => Part::text(text("text")?),
        "image" => match &block["source"]["url"] {
            Value::String(url) => Part::image_url(&**url),
            _ => {
                let data = format!(
                    "data:{};base64,{}",
                    block["source"]["media_type"].as_str()?,
                    block["source"]["data"].as_str()?
                );
                Part::image_url(data)
            }
        },
        "tool_use" => {
            let (id, name) = (text("id")?.into(), text("name")?.into());
            Part::ToolCall(ToolCall { id, name, arguments: block["input"].to_string().into(), ..ToolCall::default() })
        }
        "tool_result" => {
            let (call_id, content) = (text("tool_use_id")?.into(), parts(&block["content"])?);
            Part::ToolResult(ToolResult { call_id, content, is_error: false, extra: Default::default() })
        }
        "thinking" => Part::Reasoning(Reasoning {
            text: text("thinking")?.into(),
            signature: text("signature").map(Into::into),
            ..Reasoning::default()
        }),
        _ => Part::Other { value: block.clone().into() },
    };
    Some(match block.get("cache_control") {
        Some(mark) if !matches!(part, Part::Other { .. }) => part.with_extra("cache_control", mark.clone()),
        _ => part,
    })
}

fn refusal(recording: &Recording) {
    let Recording { id, status, headers, body, .. } = recording;
    let stated: Value = serde_json::from_slice(body).unwrap();
    let message = stated["error"]["message"].as_str().unwrap();
    let error = classify(StatusCode::from_u16(*status).unwrap(), headers, body, UNIX_EPOCH, None);
    let kind = match status {
        400 if message.starts_with("prompt is too long") => ErrorKind::ContextTooLong,
        400 => ErrorKind::InvalidRequest,
        401 => ErrorKind::Authentication,
        404 => ErrorKind::NotFound,
        other => panic!("{id}: no expectation for {other}"),
    };
    assert_eq!((error.kind(), error.message(), error.is_retryable()), (kind, message, false), "{id}");
    assert_eq!(error.code(), stated["error"]["type"].as_str(), "{id}");
    let header = headers.get("request-id").map(|id| id.to_str().unwrap());
    assert_eq!(error.request_id(), header.or(stated["request_id"].as_str()), "{id}");
    assert_eq!(error.retry_after(), None, "{id}");
}

fn count(recording: &Recording) {
    let naive: Value = serde_json::from_slice(&recording.body).unwrap();
    assert_eq!(decode_count(&recording.body).unwrap(), naive["input_tokens"].as_u64().unwrap(), "{}", recording.id);
}

fn limits(recording: &Recording) {
    let Recording { id, headers, .. } = recording;
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let limits = vendor_limits(headers, &"m".into(), UNIX_EPOCH).unwrap_or_default();
    for (of, limit) in [
        ("requests", limits.requests),
        ("tokens", limits.tokens),
        ("input-tokens", limits.input_tokens),
        ("output-tokens", limits.output_tokens),
    ] {
        let stated = number(&format!("anthropic-ratelimit-{of}-limit"));
        assert_eq!(limit.and_then(|limit| limit.limit), stated, "{id} {of}");
        let left = number(&format!("anthropic-ratelimit-{of}-remaining"));
        assert_eq!(limit.and_then(|limit| limit.remaining), left, "{id} {of}");
        // All recordings were made between 2024 and 2027.
        let reset = limit.and_then(|limit| limit.reset);
        let (from, to) = (Duration::from_secs(1_704_067_200), Duration::from_secs(1_798_761_600));
        assert!(stated.is_none() || reset.is_some_and(|reset| reset > from && reset < to), "{id} {of} {reset:?}");
    }
}

fn response(recording: &Recording) {
    let Recording { id, body, .. } = recording;
    let naive: Value = serde_json::from_slice(body).unwrap();
    let decoded = decode_chat(body).unwrap();
    assert_eq!(decoded.usage, Some(usage(&naive["usage"], &naive["usage"])), "{id}");
    assert_eq!(decoded.service_tier.as_deref(), naive["usage"]["service_tier"].as_str(), "{id}");
    assert_eq!((&*decoded.output.id, &*decoded.output.model), (text(&naive["id"]), text(&naive["model"])), "{id}");
    let blocks: Vec<Naive> = naive["content"].as_array().unwrap().iter().map(Naive::of_block).collect();
    compare(id, &decoded.output, &blocks, &naive["stop_reason"]);
}

fn stream(recording: &Recording) {
    let Recording { id, body, .. } = recording;
    let whole = block_on(play(Canned::events([body.clone()]))).unwrap();
    let response = whole.response.clone().unwrap_or_else(|| panic!("{id}: {:?}", whole.error));
    let lines = std::str::from_utf8(body).unwrap().lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = lines.map(|data| serde_json::from_str(data).unwrap()).collect();
    let of = |kind: &'static str| events.iter().filter(move |event| event["type"] == kind);
    let start = of("message_start").next().unwrap();
    let last = of("message_delta").next_back().unwrap();
    assert_eq!(whole.receipt.usage(), Some(usage(&start["message"]["usage"], &last["usage"])), "{id}");
    let mut blocks: Vec<Naive> =
        of("content_block_start").map(|event| Naive::of_block(&event["content_block"])).collect();
    for event in of("content_block_delta") {
        let block = &mut blocks[usize::try_from(event["index"].as_u64().unwrap()).unwrap()];
        block.delta(&event["delta"]);
    }
    compare(id, &response, &blocks, &last["delta"]["stop_reason"]);
    let bytes = (0..body.len()).map(|at| body.slice(at..=at));
    assert_eq!(block_on(play(Canned::events(bytes))).unwrap().events, whole.events, "{id} byte by byte");
    // A cut affects only one event. The first and the last events have all forms; the full run cuts all of them.
    let ends = |at: &usize| is_full() || *at < 900 || *at + 900 > body.len();
    block_on(async {
        for at in cuts(id, body.len(), 29).filter(ends) {
            let cut = play(Canned::events([body.slice(..at), body.slice(at..)])).await.unwrap();
            assert_eq!(cut.events, whole.events, "{id} cut at {at}");
        }
    });
}

/// Block as read naively.
#[derive(Default)]
struct Naive {
    kind: String,
    text: String,
    signature: String,
    id: String,
    input: String,
    citations: usize,
}

impl Naive {
    fn of_block(block: &Value) -> Self {
        let kind = text(&block["type"]).to_owned();
        let input = block["input"].as_object().filter(|input| !input.is_empty());
        Self {
            text: text(&block[&*kind]).to_owned(),
            signature: text(&block["signature"]).to_owned(),
            id: text(&block["id"]).to_owned(),
            input: input.map(|input| Value::Object(input.clone()).to_string()).unwrap_or_default(),
            citations: block["citations"].as_array().map_or(0, Vec::len),
            kind,
        }
    }

    fn delta(&mut self, delta: &Value) {
        self.text += text(&delta["text"]);
        self.text += text(&delta["thinking"]);
        self.signature += text(&delta["signature"]);
        self.input += text(&delta["partial_json"]);
        self.citations += usize::from(delta["type"] == "citations_delta");
    }
}

fn compare(id: &str, response: &ChatResponse, blocks: &[Naive], reason: &Value) {
    let choice = &response.choices[0];
    assert_eq!(choice.parts.len(), blocks.len(), "{id}");
    for (part, naive) in choice.parts.iter().zip(blocks) {
        match part {
            Part::Text { text, extra } => {
                assert_eq!((&*naive.kind, &**text), ("text", &*naive.text), "{id}");
                let citations = extra.get("citations").and_then(Value::as_array).map_or(0, Vec::len);
                assert_eq!(citations, naive.citations, "{id}");
            }
            Part::Reasoning(reasoning) => {
                assert_eq!((&*naive.kind, &*reasoning.text), ("thinking", &*naive.text), "{id}");
                assert_eq!(reasoning.signature.as_deref(), Some(&*naive.signature), "{id}");
            }
            Part::ToolCall(call) => {
                assert_eq!((&*naive.kind, &*call.id), ("tool_use", &*naive.id), "{id}");
                let input = if naive.input.is_empty() { "{}" } else { &naive.input };
                let naive: Value = serde_json::from_str(input).unwrap();
                assert_eq!(call.parse::<Value>().unwrap(), naive, "{id}");
            }
            other => panic!("{id}: {other:?}"),
        }
    }
    let finish = match text(reason) {
        "end_turn" => FinishReason::Stop,
        "max_tokens" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        other => panic!("{id}: no expectation for {other}"),
    };
    assert_eq!(choice.finish, finish, "{id}");
}

/// Returns the later figure of each count, if there is one.
fn usage(first: &Value, later: &Value) -> Usage {
    let number = |name: &str| later[name].as_u64().or(first[name].as_u64()).unwrap_or(0);
    let long = first["cache_creation"]["ephemeral_1h_input_tokens"].as_u64().unwrap_or(0);
    let (cache_read, written) = (number("cache_read_input_tokens"), number("cache_creation_input_tokens"));
    let mut usage = Usage::new(number("input_tokens") + cache_read + written, number("output_tokens"));
    (usage.cache_read, usage.cache_write, usage.cache_write_long) = (cache_read, written - long, long);
    usage
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
