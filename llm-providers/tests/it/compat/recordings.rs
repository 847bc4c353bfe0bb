//! Tests with recorded traffic of compatible servers in the directory `LLM_CASSETTES`.

use std::{fs, path::Path, time::UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use llm_providers::{
    OpenAi,
    llm_core::ErrorKind,
    openai::{Dialect, OpenAiProtocol},
    protocol::VendorProtocol,
};
use serde_json::{Value, json};

use super::{recorded_requests, recorded_responses};
use crate::{recordings::place, streaming::Canned};

/// Recorded request with its response.
pub(super) struct Pair {
    pub(super) id: String,
    pub(super) dialect: Dialect,
    pub(super) url: String,
    pub(super) asked: Value,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) streamed: bool,
    pub(super) embeds: bool,
}

/// Servers, with the number of recorded pairs and the dialect of each. OpenAI is included for its requests.
const SERVERS: [(&str, usize, Dialect); 9] = [
    ("openai", 27, Dialect::OPENAI),
    ("azure", 18, Dialect::AZURE),
    ("ollama", 2, Dialect::OLLAMA),
    ("vllm", 3, Dialect::VLLM),
    ("mistral", 14, Dialect::MISTRAL),
    ("groq", 14, Dialect::GROQ),
    ("deepseek", 8, Dialect::DEEPSEEK),
    ("openrouter", 21, Dialect::OPENROUTER),
    // These pairs are in OpenAI's format; the other recordings of Gemini are in its own.
    ("gemini", 2, Dialect::GEMINI),
];

fn pairs() -> Option<Vec<Pair>> {
    let place = place()?;
    let manifest: Value = serde_json::from_slice(&fs::read(place.join("manifest.json")).unwrap()).unwrap();
    let entries = manifest.as_array().or(manifest["entries"].as_array()).or(manifest["cassettes"].as_array()).unwrap();
    let mut pairs = Vec::new();
    for (server, count, dialect) in SERVERS {
        let before = pairs.len();
        let ours = entries.iter().filter(|entry| {
            let api = entry["api"].as_str();
            entry["provider"] == server && (api == Some("chat") || api == Some("embeddings") && server != "gemini")
        });
        pairs.extend(ours.map(|entry| load(&place, entry["id"].as_str().unwrap(), dialect)));
        assert_eq!(pairs.len() - before, count, "{server}");
    }
    Some(pairs)
}

fn load(place: &Path, id: &str, dialect: Dialect) -> Pair {
    let file: Value = serde_json::from_slice(&fs::read(place.join(format!("{id}.json"))).unwrap()).unwrap();
    let response = &file["response"];
    let body = match (&response["body_file"], &response["body_text"], &response["body"]) {
        (Value::String(name), ..) => {
            fs::read(place.join(id).with_file_name(Path::new(name).file_name().unwrap())).unwrap().into()
        }
        (_, Value::String(text), _) | (_, _, Value::String(text)) => text.clone().into(),
        (_, _, body) => body.to_string().into(),
    };
    let headers = response["headers"].as_object().into_iter().flatten();
    let headers = headers.filter_map(|(name, value)| Some((name.parse().ok()?, value.as_str()?.parse().ok()?)));
    Pair {
        id: id.to_owned(),
        dialect,
        url: file["request"]["url"].as_str().unwrap().to_owned(),
        asked: file["request"]["body"].clone(),
        status: u16::try_from(response["status"].as_u64().unwrap()).unwrap(),
        headers: headers.collect(),
        body,
        streamed: file["stream"] == true,
        embeds: file["api"] == "embeddings",
    }
}

fn each(check: impl Fn(&Pair)) {
    match pairs() {
        Some(pairs) => pairs.iter().for_each(check),
        None => println!("skipped: LLM_CASSETTES is not set"),
    }
}

#[test]
fn compat_recordings_decode_like_naive_reading() {
    each(|pair| match pair {
        // OpenAI's own responses are tested in a module of their own.
        Pair { id, .. } if id.starts_with("openai/") => {}
        Pair { status: 400.., .. } => refusal(pair),
        Pair { embeds: true, .. } => recorded_responses::vectors(pair),
        Pair { streamed: true, .. } => recorded_responses::stream(pair),
        _ => recorded_responses::whole(pair),
    });
}

#[test]
fn compat_recordings_encode_as_recorded() {
    each(|pair| {
        let (path, written) = written(pair);
        let mut recorded = pair.asked.clone();
        let differences = stated(pair, &mut recorded, &written);
        assert_eq!(written, recorded, "{} {differences:?}", pair.id);
        assert!(pair.url.ends_with(&path), "{}: {path} is not the end of {}", pair.id, pair.url);
    });
}

/// Returns the path below the base URL and the body that this crate sends for a recorded request.
fn written(pair: &Pair) -> (String, Value) {
    let client = OpenAi::with_dialect(pair.dialect, None, Canned::response("application/json", [""; 0])).unwrap();
    let version = pair.url.split_once("api-version=").map(|(_, version)| version);
    let client = match version {
        Some(version) if pair.url.contains("/deployments/") => client.deployments(version).unwrap(),
        Some(version) => client.api_version(version).unwrap(),
        None => client,
    };
    let mut asked = pair.asked.clone();
    if let Some(model) = deployment(pair) {
        asked["model"] = model.into();
    }
    let encoded = if pair.embeds {
        client.protocol().embed(&recorded_requests::embed(&asked))
    } else {
        let (request, streamed) = recorded_requests::chat(&asked);
        // A refusal is never a stream, even if a stream was requested.
        assert!(streamed == pair.streamed || pair.status >= 400, "{}", pair.id);
        client.protocol().chat(&request, streamed)
    };
    let encoded = encoded.unwrap_or_else(|error| panic!("{}: {error}", pair.id));
    (encoded.path, serde_json::from_slice(&encoded.body).unwrap())
}

fn deployment(pair: &Pair) -> Option<&str> {
    pair.url.split_once("/deployments/")?.1.split('/').next()
}

/// Makes of a recorded body what we write in its place. Every difference is here:
fn stated(pair: &Pair, recorded: &mut Value, written: &Value) -> Vec<&'static str> {
    let mut differences = Vec::new();
    let streamed = pair.asked["stream"] == true;
    let mut state = |difference, made: bool| differences.extend(made.then_some(difference));
    if let Some(model) = deployment(pair) {
        // The deployment in the URL decides. The body also names a model, which some clients choose freely.
        state("a deployment's name is the model", recorded["model"] != model);
        recorded["model"] = model.into();
    }
    let fields = recorded.as_object_mut().unwrap();
    let before = fields.len();
    fields.retain(|name, value| !(value.is_null() || name == "stream" && value == false));
    state("what says nothing is left out", fields.len() < before);
    if let (Some(most), false) = (fields.remove("max_tokens"), pair.dialect.legacy_max_tokens) {
        fields.insert("max_completion_tokens".to_owned(), most);
        state("the bound has its newer name", true);
    } else if let Some(most) = pair.asked.get("max_tokens") {
        fields.insert("max_tokens".to_owned(), most.clone());
    }
    if streamed && pair.dialect.stream_options && !fields.contains_key("stream_options") {
        fields.insert("stream_options".to_owned(), json!({"include_usage": true}));
        state("a stream is asked for its usage", true);
    }
    if streamed && fields.get("stream_options").is_some_and(|options| options["include_usage"] == false) {
        fields["stream_options"]["include_usage"] = true.into();
        state("a stream is asked for its usage, also by who did not want it", true);
    }
    if pair.embeds {
        fields.entry("encoding_format").or_insert_with(|| "float".into());
        if fields["input"].is_string() {
            fields["input"] = json!([fields["input"]]);
            state("one input is a list of one", true);
        }
    }
    for tool in fields.get_mut("tools").and_then(Value::as_array_mut).into_iter().flatten() {
        let tool = tool.as_object_mut().unwrap();
        state("a function says that it is one", !tool.contains_key("type"));
        tool.entry("type").or_insert_with(|| "function".into());
        if let Some(function) = tool.get_mut("function").and_then(Value::as_object_mut) {
            function.retain(|_, value| !value.is_null());
        }
    }
    let messages = fields.get_mut("messages").and_then(Value::as_array_mut).into_iter().flatten();
    for (message, ours) in messages.zip(written["messages"].as_array().into_iter().flatten()) {
        let calls = message.get("tool_calls").is_some();
        let empty =
            matches!(&message["content"], Value::Null) || message["content"] == "" || message["content"] == json!([]);
        if calls && empty {
            message["content"] = Value::Null;
            state("no content beside calls is null", true);
        }
        let one = message["content"].as_array().filter(|list| list.len() == 1 && ours["content"].is_string());
        if let Some(text) = one.map(|list| list[0]["text"].clone()) {
            message["content"] = text;
            state("one text is a text, not a list", true);
        }
    }
    differences
}

fn refusal(pair: &Pair) {
    let Pair { id, status, headers, body, dialect, .. } = pair;
    let protocol = OpenAiProtocol::new(*dialect);
    let error = protocol.classify(StatusCode::from_u16(*status).unwrap(), headers, body, UNIX_EPOCH, None);
    let too_long = ["deepseek/chat-400-001", "openrouter/chat-400-001"].contains(&id.as_str());
    let kind = match status {
        400 if too_long => ErrorKind::ContextTooLong,
        400 if error.code() == Some("tool_use_failed") => ErrorKind::Malformed,
        401 => ErrorKind::Authentication,
        404 => ErrorKind::NotFound,
        429 => ErrorKind::RateLimited,
        other => panic!("{id}: no expectation for {other}: {error:?}"),
    };
    assert_eq!(error.kind(), kind, "{id}");
    let stated: Value = serde_json::from_slice(body).unwrap();
    if let Some(code) = stated["error"]["code"].as_str() {
        assert_eq!(error.code(), Some(code), "{id}");
    }
    let message = stated["error"]["message"].as_str().or(stated["detail"].as_str()).unwrap();
    assert!(*status == 401 || error.message().starts_with(message), "{id}: {error}");
    assert!(!error.message().contains("****"), "{id}: {error}");
    let id_header = headers.get("x-request-id").or(headers.get("apim-request-id"));
    assert_eq!(error.request_id(), id_header.map(|id| id.to_str().unwrap()), "{id}");
    let wait = headers.get("retry-after").map(|seconds| seconds.to_str().unwrap().parse().unwrap());
    assert_eq!(error.retry_after().map(|wait| wait.as_secs()), wait, "{id}");
}
