//! Recorded traffic, where `LLM_CASSETTES` says where it is. Requests are read naively into our types and must be sent as
//! they were recorded; responses are compared with a naive reading of their JSON.
//!
//! Requests differ as they may: names in camel case, no empty `generationConfig`, no role of the instructions, base64
//! in the usual alphabet, no null descriptions, `alt=sse` with streams, a size of pages.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use llm_providers::{
    Gemini,
    gemini::GeminiProtocol,
    llm_core::{
        ChatRequest, ChatResponse, EmbedRequest, ErrorKind, Message, Part, Role, Tool, ToolCall, ToolResult, Usage,
        chat::{FunctionTool, JsonSchema, ResponseFormat},
        layer::{LimitScope, LimitWindow},
    },
    protocol::{EncodedRequest, VendorProtocol},
};
use serde_json::{Map, Value, json};

use crate::streaming::{Canned, block_on, cuts, play_to};

use crate::codec::gemini::{Decoded, Dialect, classify, decode_chat, decode_count, decode_embeddings, decode_models};

const APIS: [&str; 5] = ["generateContent", "streamGenerateContent", "embeddings", "count-tokens", "models"];
const BASE: &str = "https://generativelanguage.googleapis.com/v1beta/";

struct Recording {
    id: String,
    api: String,
    url: String,
    request: Value,
    status: u16,
    kind: String,
    body: Bytes,
}

#[expect(clippy::disallowed_methods, reason = "this is the test's edge")]
fn place() -> Option<PathBuf> {
    std::env::var_os("LLM_CASSETTES").filter(|place| !place.is_empty()).map(PathBuf::from)
}

fn recordings() -> Vec<Recording> {
    let Some(place) = place() else {
        println!("skipped: LLM_CASSETTES is not set");
        return Vec::new();
    };
    let manifest: Value = serde_json::from_slice(&fs::read(place.join("manifest.json")).unwrap()).unwrap();
    let entries = manifest.as_array().or(manifest["entries"].as_array()).or(manifest["cassettes"].as_array()).unwrap();
    let ours = entries.iter().filter(|e| e["provider"] == "gemini" && APIS.iter().any(|api| e["api"] == *api));
    let all: Vec<_> = ours.map(|entry| load(&place, entry["id"].as_str().unwrap())).collect();
    assert_eq!(all.len(), 27);
    all
}

fn load(place: &Path, id: &str) -> Recording {
    let file: Value = serde_json::from_slice(&fs::read(place.join(format!("{id}.json"))).unwrap()).unwrap();
    let (request, response) = (&file["request"], &file["response"]);
    let body = match response["body_file"].as_str() {
        Some(name) => fs::read(place.join(id).with_file_name(Path::new(name).file_name().unwrap())).unwrap().into(),
        None => response["body"].to_string().into(),
    };
    Recording {
        id: id.to_owned(),
        api: file["api"].as_str().unwrap().to_owned(),
        url: request["url"].as_str().unwrap().to_owned(),
        request: request["body"].clone(),
        status: u16::try_from(response["status"].as_u64().unwrap()).unwrap(),
        kind: response["headers"]["content-type"].as_str().unwrap().to_owned(),
        body,
    }
}

#[test]
fn gemini_recordings_encode_as_recorded() {
    let mut sent = 0;
    for recording in recordings() {
        let Recording { id, api, url, request, .. } = &recording;
        let path = url.strip_prefix(BASE).unwrap();
        let model = path.strip_prefix("models/").and_then(|path| path.split(':').next()).unwrap_or_default();
        let expected = normal(request);
        let encoded = match api.as_str() {
            "models" => {
                let encoded = GeminiProtocol::default().models(None).unwrap();
                assert_eq!(encoded.path, format!("{path}?pageSize=1000"), "{id}");
                assert!(encoded.body.is_empty());
                continue;
            }
            // The recording contains an image, which our type cannot represent.
            "embeddings" if id.ends_with("200-002") => continue,
            "embeddings" => GeminiProtocol::default().embed(&naive_embed(model, &expected)).unwrap(),
            "count-tokens" => GeminiProtocol::default().count(&naive_chat(model, &expected).0).unwrap(),
            _ => {
                let (question, dialect) = naive_chat(model, &expected);
                GeminiProtocol::new(dialect).chat(&question, api == "streamGenerateContent").unwrap()
            }
        };
        let EncodedRequest { path: ours, body, .. } = encoded;
        let stated = |path: &str| path.replace("?alt=sse", "");
        assert_eq!(stated(&ours), stated(path), "{id}");
        assert_eq!(normal(&serde_json::from_slice(&body).unwrap()), expected, "{id}");
        sent += 1;
    }
    assert!(sent == 25 || place().is_none(), "{sent}");
}

/// Returns a body without the differences that are allowed.
fn normal(body: &Value) -> Value {
    let mut body = match body {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, value)| *name != "description" || !value.is_null());
            let renamed = |name: &String| match name.as_str() {
                "parameters_json_schema" => "parametersJsonSchema".to_owned(),
                "thinking_budget" => "thinkingBudget".to_owned(),
                "inline_data" => "inlineData".to_owned(),
                "mime_type" => "mimeType".to_owned(),
                name => name.to_owned(),
            };
            Value::Object(kept.map(|(name, value)| (renamed(name), normal(value))).collect())
        }
        Value::Array(list) => list.iter().map(normal).collect(),
        other => return other.clone(),
    };
    if let Some(fields) = body.as_object_mut() {
        if fields.get("generationConfig").and_then(Value::as_object).is_some_and(Map::is_empty) {
            fields.remove("generationConfig");
        }
        if let Some(instruction) = fields.get_mut("systemInstruction").and_then(Value::as_object_mut) {
            instruction.remove("role");
        }
        if let Some(Value::String(data)) = fields.get_mut("data") {
            *data = data.replace('+', "-").replace('/', "_");
        }
    }
    body
}

fn naive_chat(model: &str, body: &Value) -> (ChatRequest, Dialect) {
    let mut request = ChatRequest::new(model);
    let text = body.to_string();
    let openapi_schemas = text.contains("\"parameters\"") || text.contains("\"responseSchema\"");
    let mut dialect = Dialect { openapi_schemas, ..Dialect::default() };
    for (name, value) in body.as_object().unwrap() {
        match name.as_str() {
            "contents" => {}
            "systemInstruction" => request = request.system(value["parts"][0]["text"].as_str().unwrap()),
            "tools" => {
                let declared =
                    value.as_array().unwrap().iter().flat_map(|t| t["functionDeclarations"].as_array().unwrap());
                request = declared.fold(request, |request, function| request.tool(naive_tool(function)));
            }
            "generationConfig" => request = naive_config(request, &mut dialect, value),
            _ => request = request.extra(name.clone(), value.clone()),
        }
    }
    let contents = body["contents"].as_array().unwrap();
    (contents.iter().fold(request, |request, content| request.message(naive_message(content))), dialect)
}

fn naive_tool(function: &Value) -> Tool {
    let parameters = function.get("parameters").or(function.get("parametersJsonSchema"));
    Tool::Function(FunctionTool {
        name: function["name"].as_str().unwrap().into(),
        description: function["description"].as_str().map(Into::into),
        parameters: parameters.cloned().map(Arc::new),
        ..FunctionTool::default()
    })
}

fn naive_config(mut request: ChatRequest, dialect: &mut Dialect, config: &Value) -> ChatRequest {
    let mut further = Map::new();
    for (name, value) in config.as_object().unwrap() {
        match name.as_str() {
            "maxOutputTokens" => request = request.max_output_tokens(value.as_u64().unwrap()),
            "thinkingConfig" if value["thinkingBudget"] == 0 => request.reasoning_effort = Some("none".into()),
            "thinkingConfig" => dialect.include_thoughts = value["includeThoughts"] == true,
            "responseMimeType" => {}
            "responseSchema" | "responseJsonSchema" => {
                let (name, schema) = ("response".into(), Arc::new(value.clone()));
                let format = JsonSchema { name, description: None, schema, strict: Some(true) };
                request = request.response_format(ResponseFormat::JsonSchema(format));
            }
            _ => drop(further.insert(name.clone(), value.clone())),
        }
    }
    if further.is_empty() { request } else { request.extra("generationConfig", further) }
}

fn naive_message(content: &Value) -> Message {
    let parts = content["parts"].as_array().unwrap();
    let responses = parts.iter().all(|part| part.get("functionResponse").is_some());
    let role = match content["role"].as_str().unwrap() {
        "model" => Role::Assistant,
        _ if responses => Role::Tool,
        _ => Role::User,
    };
    Message::new(role, parts.iter().map(naive_part).collect())
}

fn naive_part(part: &Value) -> Part {
    // A call without an id gets a generated one.
    let id = |of: &Value| of["id"].as_str().unwrap_or("gemini_1_0_0").into();
    if let Some(call) = part.get("functionCall") {
        let mut called = ToolCall { id: id(call), name: call["name"].as_str().unwrap().into(), ..ToolCall::default() };
        called.arguments = call["args"].to_string().into();
        if let Some(signature) = part.get("thoughtSignature") {
            called.extra.insert("thoughtSignature", signature.clone());
        }
        return Part::ToolCall(called);
    }
    if let Some(result) = part.get("functionResponse") {
        let response = &result["response"];
        let text = response["result"].as_str().map_or_else(|| response.to_string(), str::to_owned);
        let (call_id, content) = (id(result), vec![Part::text(text)]);
        return Part::ToolResult(ToolResult { call_id, content, is_error: false, extra: Default::default() });
    }
    if let Some(blob) = part.get("inlineData") {
        let data = URL_SAFE.decode(blob["data"].as_str().unwrap()).unwrap();
        return Part::image(blob["mimeType"].as_str().unwrap(), data);
    }
    match part["text"].as_str() {
        Some(text) => Part::text(text),
        None => Part::Other { value: Arc::new(part.clone()) },
    }
}

fn naive_embed(model: &str, body: &Value) -> EmbedRequest {
    let requests = body["requests"].as_array().unwrap();
    let texts = requests.iter().map(|one| one["content"]["parts"][0]["text"].as_str().unwrap());
    let mut request = EmbedRequest::new(model, texts);
    request.dimensions = requests[0]["outputDimensionality"].as_u64().map(|length| u32::try_from(length).unwrap());
    if let Some(task) = requests[0].get("taskType") {
        request.extra.insert("taskType", task.clone());
    }
    request
}

#[test]
fn gemini_recordings_decode_like_naive_reading() {
    for recording in recordings() {
        let Recording { id, api, request, status, kind, body, .. } = &recording;
        match api.as_str() {
            _ if *status >= 400 => refusal(&recording),
            "embeddings" => vectors(&recording, request["requests"].as_array().unwrap().len()),
            "count-tokens" => {
                let naive: Value = serde_json::from_slice(body).unwrap();
                assert_eq!(decode_count(body).unwrap(), naive["totalTokens"].as_u64().unwrap(), "{id}");
            }
            "models" => models(&recording),
            _ if kind == "text/event-stream" => stream(&recording),
            _ => whole(id, decode_chat(body).unwrap(), &chunks(body)),
        }
    }
}

fn refusal(recording: &Recording) {
    let Recording { id, status, body, .. } = recording;
    let stated: Value = serde_json::from_slice(body).unwrap();
    for body in [body.to_vec(), json!([stated]).to_string().into_bytes()] {
        let error = classify(StatusCode::from_u16(*status).unwrap(), &HeaderMap::new(), &body, UNIX_EPOCH, None);
        let kind = match status {
            400 => ErrorKind::Authentication,
            404 => ErrorKind::NotFound,
            429 => ErrorKind::RateLimited,
            other => panic!("{id}: no expectation for {other}"),
        };
        assert_eq!((error.kind(), error.message()), (kind, stated["error"]["message"].as_str().unwrap()), "{id}");
        let code = stated["error"]["details"][0]["reason"].as_str().or(stated["error"]["status"].as_str());
        assert_eq!(error.code(), code, "{id}");
        if *status == 429 {
            assert_eq!(error.scope(), Some(LimitScope::Model(LimitWindow::Minute)), "{id}");
            let words = error.message().split("retry in ").nth(1).unwrap().trim_end_matches("s.").to_owned();
            let wait = error.retry_after().unwrap().as_secs_f64();
            assert!((wait - words.parse::<f64>().unwrap()).abs() < 1e-6, "{id}: {wait}");
        }
    }
}

fn vectors(recording: &Recording, inputs: usize) {
    let Recording { id, body, .. } = recording;
    let naive: Value = serde_json::from_slice(body).unwrap();
    let decoded = decode_embeddings(body, inputs).unwrap();
    for (vector, item) in decoded.output.vectors.iter().zip(naive["embeddings"].as_array().unwrap()) {
        let numbers: Vec<f32> = item["values"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap() as f32).collect();
        assert_eq!(**vector, *numbers, "{id}");
    }
    assert_eq!(decoded.usage, usage(&naive["usageMetadata"]), "{id}");
}

fn models(recording: &Recording) {
    let naive: Value = serde_json::from_slice(&recording.body).unwrap();
    let (models, next) = decode_models(&recording.body).unwrap();
    assert_eq!(next.as_deref(), naive["nextPageToken"].as_str());
    let naive = naive["models"].as_array().unwrap();
    assert_eq!(models.len(), naive.len());
    for (model, naive) in models.iter().zip(naive) {
        assert_eq!(format!("models/{}", model.id), naive["name"].as_str().unwrap());
        assert_eq!(model.name.as_deref(), naive["displayName"].as_str());
        let limits = (naive["inputTokenLimit"].as_u64(), naive["outputTokenLimit"].as_u64());
        assert_eq!((model.input_limit, model.output_limit), limits);
        assert_eq!(model.extra.get("supportedGenerationMethods"), naive.get("supportedGenerationMethods"));
    }
}

/// Returns the chunks of a response, or the response itself if it is unary.
fn chunks(body: &[u8]) -> Vec<Value> {
    match serde_json::from_slice(body).unwrap() {
        Value::Array(chunks) => chunks,
        whole => vec![whole],
    }
}

fn whole(id: &str, decoded: Decoded<ChatResponse>, chunks: &[Value]) {
    response(id, &decoded.output, chunks);
    let last = &chunks[chunks.len() - 1];
    assert_eq!(decoded.usage, usage(&last["usageMetadata"]), "{id}");
    assert_eq!(decoded.service_tier.as_deref(), last["usageMetadata"]["serviceTier"].as_str(), "{id}");
}

/// Compares a response of one candidate with its chunks.
fn response(id: &str, response: &ChatResponse, chunks: &[Value]) {
    let (mut text, mut thoughts, mut calls, mut signatures) = (String::new(), String::new(), Vec::new(), Vec::new());
    for part in chunks.iter().flat_map(|chunk| chunk["candidates"][0]["content"]["parts"].as_array()).flatten() {
        let said = if part["thought"] == true { &mut thoughts } else { &mut text };
        said.push_str(part["text"].as_str().unwrap_or_default());
        calls.extend(part.get("functionCall").cloned());
        signatures.extend(part.get("thoughtSignature").cloned());
    }
    let (first, last) = (&chunks[0], &chunks[chunks.len() - 1]);
    assert_eq!(
        (&*response.id, &*response.model),
        (first["responseId"].as_str().unwrap(), first["modelVersion"].as_str().unwrap())
    );
    let [choice] = response.choices.as_slice() else { panic!("{id}") };
    assert_eq!((choice.text().into_owned(), choice.reasoning()), (text, thoughts), "{id}");
    let ours = choice.tool_calls().map(|call| {
        assert!(!call.id.is_empty(), "{id}");
        let mut call_json = json!({"name": &*call.name, "args": call.parse::<Value>().unwrap()});
        if !call.id.starts_with("gemini_") {
            call_json["id"] = json!(&*call.id);
        }
        call_json
    });
    assert_eq!(ours.collect::<Vec<_>>(), calls, "{id}");
    let candidate = &last["candidates"][0];
    let finish = match candidate["finishReason"].as_str().unwrap() {
        "STOP" if !calls.is_empty() => "tool_calls",
        "STOP" => "stop",
        "MAX_TOKENS" => "length",
        "SAFETY" => "content_filter",
        other => panic!("{id}: no expectation for {other}"),
    };
    assert_eq!(choice.finish.to_string(), finish, "{id}");
    for name in ["safetyRatings", "avgLogprobs", "finishMessage"] {
        assert_eq!(choice.extra.get(name), candidate.get(name), "{id} {name}");
    }
    goes_back(id, choice.clone().into(), &signatures);
}

/// Checks that every signature is sent back in its place.
fn goes_back(id: &str, message: Message, signatures: &[Value]) {
    if message.parts.is_empty() {
        return;
    }
    let request = ChatRequest::new("m").user("x").message(message);
    let body = GeminiProtocol::default().chat(&request, false).unwrap().body;
    let body: Value = serde_json::from_slice(&body).unwrap();
    let parts = body["contents"][1]["parts"].as_array().unwrap();
    let back: Vec<_> = parts.iter().filter_map(|part| part.get("thoughtSignature").cloned()).collect();
    assert_eq!(back, signatures, "{id}");
}

fn stream(recording: &Recording) {
    let Recording { id, body, .. } = recording;
    let play = |canned: Canned| block_on(play_to(&Gemini::with_transport("key", canned).unwrap())).unwrap();
    let read = play(Canned::events([body.clone()]));
    let text = std::str::from_utf8(body).unwrap();
    let texts: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let chunks: Vec<Value> = texts.iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    let got = read.response.unwrap_or_else(|| panic!("{id}: {:?}", read.error));
    response(id, &got, &chunks);
    let last = &chunks[chunks.len() - 1]["usageMetadata"];
    let stated = chunks.iter().filter_map(|chunk| usage(&chunk["usageMetadata"]));
    assert_eq!(read.receipt.usage(), stated.reduce(Usage::max_each), "{id}");
    assert_eq!(read.receipt.accounting().service_tier.as_deref(), last["serviceTier"].as_str(), "{id}");
    let bytes = (0..body.len()).map(|at| body.slice(at..=at));
    assert_eq!(play(Canned::events(bytes)).events, read.events, "{id} byte by byte");
    for at in cuts(id, body.len(), 11) {
        let cut = play(Canned::events([body.slice(..at), body.slice(at..)]));
        assert_eq!(cut.events, read.events, "{id} cut at {at}");
    }
    let list = decode_chat(format!("[{}]", texts.join(",")).as_bytes()).unwrap();
    assert_eq!(list.output, got, "{id} as a list");
}

fn usage(naive: &Value) -> Option<Usage> {
    let number = |name: &str| naive[name].as_u64().unwrap_or(0);
    naive["promptTokenCount"].as_u64()?;
    let mut usage =
        Usage::new(number("promptTokenCount"), number("candidatesTokenCount") + number("thoughtsTokenCount"));
    if naive.get("totalTokenCount").is_some() {
        assert_eq!(usage.total(), number("totalTokenCount"));
    }
    usage.cache_read = number("cachedContentTokenCount");
    usage.reasoning = number("thoughtsTokenCount");
    let images =
        ["promptTokensDetails", "promptTokenDetails"].into_iter().flat_map(|name| naive[name].as_array()).flatten();
    usage.image_input =
        images.filter(|row| row["modality"] == "IMAGE").map(|row| row["tokenCount"].as_u64().unwrap()).sum();
    Some(usage)
}
