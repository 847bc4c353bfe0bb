//! Comparison with recorded responses of real vendors: the vendor sends no field or header that they do not contain.
//!
//! It runs if `LLM_CASSETTES` names the directory of recordings.

use crate::client::{Received, ask, prompt, with};
use crate::formats::{anthropic, compatible, gemini};
use llm_testkit::{Fault, Flavor, RefusalKind, RetryForm, Rule, Vendor};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Fields of the vendors' documentation that no recording contains: `vendor: path`.
const STATED: [&str; 11] = [
    "anthropic: .usage.output_tokens_details",
    "anthropic: .usage.output_tokens_details.thinking_tokens",
    "anthropic: content_block_start.content_block.signature",
    "anthropic: message_delta.usage.output_tokens_details",
    "anthropic: message_delta.usage.output_tokens_details.thinking_tokens",
    "anthropic: message_start.message.usage.output_tokens_details",
    "anthropic: message_start.message.usage.output_tokens_details.thinking_tokens",
    "gemini: .candidates[].content.parts[].thought",
    "gemini: .promptFeedback",
    "gemini: .promptFeedback.blockReason",
    "mistral: .choices[].message.tool_calls[].type",
];

/// Headers that every server may send, and that recordings omit.
const ANYBODYS: [&str; 2] = ["date", "content-length"];

#[tokio::test]
async fn vendor_sends_only_recorded_fields() {
    let Some(cassettes) = std::env::var_os("LLM_CASSETTES").map(PathBuf::from) else {
        println!("skipped: LLM_CASSETTES names no directory of recordings");
        return;
    };
    let mut strangers = BTreeSet::new();
    for (name, apis, sent) in [
        ("anthropic", &["messages", "count-tokens"][..], anthropic_responses().await),
        (
            "gemini",
            &["generateContent", "streamGenerateContent", "count-tokens", "embeddings", "models"],
            gemini_responses().await,
        ),
        ("azure", &["chat"], compatible_responses(Flavor::Azure).await),
        ("mistral", &["chat"], compatible_responses(Flavor::Mistral).await),
        ("deepseek", &["chat"], compatible_responses(Flavor::DeepSeek).await),
        ("groq", &["chat"], compatible_responses(Flavor::Groq).await),
        ("openrouter", &["chat"], compatible_responses(Flavor::OpenRouter).await),
        ("ollama", &["chat"], compatible_responses(Flavor::Ollama).await),
    ] {
        let seen = recorded(&cassettes, name, apis);
        assert!(!seen.is_empty(), "no recordings of {name}");
        let mut paths = BTreeSet::new();
        for response in sent {
            collect_body(name, &response.bytes(), &mut paths);
            paths.extend(response.headers.keys().filter(|name| !ANYBODYS.contains(&name.as_str())).map(header));
        }
        let unseen = paths.difference(&seen).map(|path| format!("{name}: {path}"));
        strangers.extend(unseen);
    }
    assert_eq!(strangers, STATED.map(String::from).into());
}

async fn anthropic_responses() -> Vec<Received> {
    let vendor = Vendor::builder().keys(["sk-a"]).models(["m"]).reasoning_tokens(9).cached_percent(10).build();
    let mut responses = Vec::new();
    for fields in [
        json!({}),
        json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        json!({"tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any"}}),
    ] {
        let body = with(with(prompt("one"), json!({"max_tokens": 2_000})), fields);
        responses.push(ask(&vendor, anthropic("messages", &body)).await);
        responses.push(ask(&vendor, anthropic("messages", &with(body, json!({"stream": true})))).await);
    }
    responses.push(ask(&vendor, anthropic("messages/count_tokens", &prompt("one"))).await);
    let full = with(prompt("one"), json!({"max_tokens": 9}));
    responses.push(ask(&vendor, anthropic("messages", &with(full.clone(), json!({"model": "n"})))).await);
    vendor.script(Rule::new(Fault::Refused(RefusalKind::Overloaded)).once());
    vendor.script(Rule::new(Fault::insufficient_quota()).once());
    responses.push(ask(&vendor, anthropic("messages", &full)).await);
    responses.push(ask(&vendor, anthropic("messages", &full)).await);
    responses
}

async fn gemini_responses() -> Vec<Received> {
    let vendor = Vendor::builder().keys(["sk-a"]).models(["m"]).cached_percent(10).build();
    let mut responses = Vec::new();
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "one"}]}]});
    for fields in [
        json!({}),
        json!({"generationConfig": {"thinkingConfig": {"includeThoughts": true}}}),
        json!({"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}),
    ] {
        let body = with(contents.clone(), fields);
        for method in ["m:generateContent", "m:streamGenerateContent?alt=sse"] {
            responses.push(ask(&vendor, gemini(method, &body)).await);
        }
    }
    responses.push(ask(&vendor, gemini("n:generateContent", &contents)).await);
    responses.push(ask(&vendor, gemini("m:countTokens", &contents)).await);
    let input = json!({"content": {"parts": [{"text": "a"}]}});
    responses.push(ask(&vendor, gemini("m:batchEmbedContents", &json!({"requests": [input]}))).await);
    vendor.script(Rule::new(Fault::rate_limited(Duration::from_secs(2), RetryForm::Seconds)).once());
    vendor.script(Rule::new(Fault::Filtered).once());
    responses.push(ask(&vendor, gemini("m:generateContent", &contents)).await);
    responses.push(ask(&vendor, gemini("m:generateContent", &contents)).await);
    let mut stranger = gemini("m:generateContent", &contents);
    stranger.headers_mut().insert("x-goog-api-key", http::HeaderValue::from_static("sk-b"));
    responses.push(ask(&vendor, stranger).await);
    responses
}

async fn compatible_responses(flavor: Flavor) -> Vec<Received> {
    let vendor = Vendor::builder().flavor(flavor).keys(["sk-a", ""]).models(["m"]).reasoning_tokens(5).build();
    let mut responses = Vec::new();
    let stream = json!({"stream": true, "stream_options": {"include_usage": true}});
    let tools = json!({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"});
    let plain = [prompt("one"), with(prompt("one"), tools)];
    for body in plain {
        // NOTE: no recording of Ollama's OpenAI-compatible path has tools or a stream.
        if flavor == Flavor::Ollama && body.get("tools").is_some() {
            continue;
        }
        responses.push(ask(&vendor, compatible(flavor, &body)).await);
        if flavor != Flavor::Ollama {
            responses.push(ask(&vendor, compatible(flavor, &with(body, stream.clone()))).await);
        }
    }
    if flavor != Flavor::Ollama {
        let mut stranger = compatible(flavor, &prompt("one"));
        stranger.headers_mut().insert("authorization", http::HeaderValue::from_static("Bearer sk-b"));
        responses.push(ask(&vendor, stranger).await);
    }
    responses
}

/// Returns the paths of all fields in the recordings of one vendor, and in the errors that its documentation shows.
fn recorded(cassettes: &Path, vendor: &str, apis: &[&str]) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let folder = cassettes.join(vendor);
    let entries = std::fs::read_dir(&folder).expect("a directory of recordings");
    for entry in entries.map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        if !name.ends_with(".json") || !apis.iter().any(|api| name.starts_with(&format!("{api}-"))) {
            continue;
        }
        let response = read(&entry.path())["response"].take();
        paths.extend(response["headers"].as_object().into_iter().flat_map(|headers| headers.keys()).map(header));
        match &response["body_file"] {
            Value::String(file) => {
                let file = Path::new(file).file_name().expect("a file");
                collect_body(vendor, &std::fs::read(folder.join(file)).expect("a recorded stream"), &mut paths);
            }
            _ => match &response["body"] {
                Value::Null => {
                    let text = response["body_text"].as_str().unwrap_or_default();
                    collect_body(vendor, text.as_bytes(), &mut paths);
                }
                body => collect(body, String::new(), &mut paths),
            },
        }
    }
    let documented = read(&cassettes.join("documented_errors.json"));
    let errors = documented["errors"].as_array().into_iter().flatten();
    errors
        .filter(|error| error["provider"] == vendor)
        .for_each(|error| collect(&error["body"], String::new(), &mut paths));
    paths
}

fn header(name: impl std::fmt::Display) -> String {
    format!("header {name}")
}

fn read(path: &Path) -> Value {
    let bytes = std::fs::read(path).expect("a recording");
    serde_json::from_slice(&bytes).expect("a recording is JSON")
}

/// Returns the paths in JSON, or in the data of each event. Anthropic's events begin with their names.
fn collect_body(vendor: &str, bytes: &[u8], paths: &mut BTreeSet<String>) {
    if let Ok(body) = serde_json::from_slice::<Value>(bytes) {
        return collect(&body, String::new(), paths);
    }
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines().filter_map(|line| line.strip_prefix("data:")) {
        let Ok(data) = serde_json::from_str::<Value>(line) else { continue };
        let head =
            if vendor == "anthropic" { data["type"].as_str().unwrap_or_default().to_owned() } else { String::new() };
        collect(&data, head, paths);
    }
}

fn collect(value: &Value, path: String, paths: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, format!("{path}[]"), paths)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                // NOTE: the fields of arguments are the application's.
                if !["input", "args"].contains(&name.as_str()) {
                    collect(value, path.clone(), paths);
                }
                paths.insert(path);
            }
        }
        _ => {}
    }
}
