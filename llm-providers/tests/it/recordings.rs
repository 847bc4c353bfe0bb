//! Tests with recorded traffic in the directory `LLM_CASSETTES`. Each response is compared with a naive reading of its
//! JSON.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use llm_providers::llm_core::{ChatResponse, ErrorKind, Extra, Usage};
use serde_json::Value;

use crate::streaming::{Canned, block_on, cuts, is_full, play};

use crate::codec::openai::{ChunkDecoder, classify, decode_chat, decode_embeddings};

struct Recording {
    id: String,
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    streamed: bool,
    embeds: Option<usize>,
}

#[expect(clippy::disallowed_methods, reason = "this is the test's edge")]
pub(crate) fn place() -> Option<PathBuf> {
    std::env::var_os("LLM_CASSETTES").filter(|place| !place.is_empty()).map(PathBuf::from)
}

#[test]
fn recordings_of_openai_decode_like_naive_reading() {
    let Some(place) = place() else {
        println!("skipped: LLM_CASSETTES is not set");
        return;
    };
    let manifest: Value = serde_json::from_slice(&fs::read(place.join("manifest.json")).unwrap()).unwrap();
    let entries = manifest.as_array().or(manifest["entries"].as_array()).or(manifest["cassettes"].as_array());
    let ours = entries
        .unwrap()
        .iter()
        .filter(|entry| entry["provider"] == "openai" && (entry["api"] == "chat" || entry["api"] == "embeddings"));
    let ids: Vec<_> = ours.map(|entry| entry["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 27);
    for id in ids {
        let recording = load(&place, &id);
        match recording {
            Recording { status: 400.., .. } => refusal(&recording),
            Recording { embeds: Some(inputs), .. } => vectors(&recording, inputs),
            Recording { streamed: true, .. } => stream(&recording),
            _ => response(&recording),
        }
    }
}

fn load(place: &Path, id: &str) -> Recording {
    let file: Value = serde_json::from_slice(&fs::read(place.join(format!("{id}.json"))).unwrap()).unwrap();
    let response = &file["response"];
    let body = match (&response["body_file"], &response["body_text"], &response["body"]) {
        (Value::String(name), ..) => {
            let beside = place.join(id).with_file_name(Path::new(name).file_name().unwrap());
            fs::read(beside).unwrap().into()
        }
        (_, Value::String(text), _) => text.clone().into(),
        (_, _, Value::String(text)) => text.clone().into(),
        (_, _, body) => body.to_string().into(),
    };
    let headers = response["headers"].as_object().into_iter().flatten();
    let headers = headers.filter_map(|(name, value)| Some((name.parse().ok()?, value.as_str()?.parse().ok()?)));
    let embeds = (file["api"] == "embeddings").then(|| match &file["request"]["body"]["input"] {
        Value::Array(list) if !list.iter().all(Value::is_number) => list.len(),
        _ => 1,
    });
    Recording {
        id: id.to_owned(),
        status: u16::try_from(response["status"].as_u64().unwrap()).unwrap(),
        headers: headers.collect(),
        body,
        streamed: file["stream"] == true,
        embeds,
    }
}

fn refusal(recording: &Recording) {
    let Recording { id, status, headers, body, .. } = recording;
    let error = classify(StatusCode::from_u16(*status).unwrap(), headers, body, UNIX_EPOCH, None);
    let kind = match status {
        400 => ErrorKind::InvalidRequest,
        401 => ErrorKind::Authentication,
        404 => ErrorKind::NotFound,
        other => panic!("{id}: no expectation for {other}"),
    };
    let stated: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(error.kind(), kind, "{id}");
    if let Some(code) = stated["error"]["code"].as_str() {
        assert_eq!(error.code(), Some(code), "{id}");
    }
    assert_eq!(error.request_id(), headers.get("x-request-id").map(|id| id.to_str().unwrap()), "{id}");
    if *status != 401 {
        assert_eq!(error.message(), stated["error"]["message"].as_str().unwrap(), "{id}");
    }
}

fn vectors(recording: &Recording, inputs: usize) {
    let Recording { id, body, .. } = recording;
    let naive: Value = serde_json::from_slice(body).unwrap();
    let decoded = decode_embeddings(body, inputs).unwrap();
    assert_eq!(*decoded.output.model, *naive["model"].as_str().unwrap(), "{id}");
    assert_eq!(decoded.usage, usage(&naive["usage"]), "{id}");
    for (vector, item) in decoded.output.vectors.iter().zip(naive["data"].as_array().unwrap()) {
        match &item["embedding"] {
            Value::Array(numbers) => {
                let numbers: Vec<f32> = numbers.iter().map(|number| number.as_f64().unwrap() as f32).collect();
                assert_eq!(**vector, *numbers, "{id}");
            }
            text => assert_eq!(vector.len(), text.as_str().unwrap().trim_end_matches('=').len() * 6 / 32, "{id}"),
        }
    }
}

fn response(recording: &Recording) {
    let Recording { id, body, .. } = recording;
    let naive: Value = serde_json::from_slice(body).unwrap();
    let decoded = decode_chat(body).unwrap();
    assert_eq!(decoded.usage, usage(&naive["usage"]), "{id}");
    let choices = naive["choices"].as_array().unwrap();
    assert_eq!(decoded.output.choices.len(), choices.len(), "{id}");
    for (choice, naive) in decoded.output.choices.iter().zip(choices) {
        let message = &naive["message"];
        assert_eq!(choice.text(), message["content"].as_str().unwrap_or_default(), "{id}");
        assert_eq!(choice.refusal(), message["refusal"].as_str(), "{id}");
        assert_eq!(choice.finish.to_string(), naive["finish_reason"].as_str().unwrap(), "{id}");
        let calls: Vec<_> = choice.tool_calls().map(|call| (&*call.id, &*call.name, &*call.arguments)).collect();
        let naive_calls = message["tool_calls"].as_array().into_iter().flatten();
        let text =
            |value: &'static str| move |call: &'_ Value| call.pointer(value).unwrap().as_str().unwrap().to_owned();
        let naive_calls: Vec<_> = naive_calls
            .map(|call| (text("/id")(call), text("/function/name")(call), text("/function/arguments")(call)))
            .collect();
        assert_eq!(calls.len(), naive_calls.len(), "{id}");
        assert!(calls.iter().zip(&naive_calls).all(|(a, b)| (a.0, a.1, a.2) == (&*b.0, &*b.1, &*b.2)), "{id}");
        survives(id, &choice.extra, naive, &["index", "message", "finish_reason"]);
        survives(id, &choice.message_extra, message, &["role", "content", "refusal", "tool_calls", "annotations"]);
    }
    survives(id, &decoded.output.extra, &naive, &["id", "model", "object", "choices", "usage"]);
}

/// Checks that `extra` contains every field of `naive` except the named ones, and nothing else.
fn survives(id: &str, extra: &Extra, naive: &Value, named: &[&str]) {
    let further = naive.as_object().unwrap().iter().filter(|(name, _)| !named.contains(&name.as_str()));
    let expected: BTreeMap<_, _> = further.map(|(name, value)| (name.as_str(), value)).collect();
    assert_eq!(extra.iter().collect::<BTreeMap<_, _>>(), expected, "{id}");
}

fn stream(recording: &Recording) {
    let Recording { id, body, .. } = recording;
    let whole = block_on(play(Canned::events([body.clone()]))).unwrap();
    let response = whole.response.clone().unwrap_or_else(|| panic!("{id}: {:?}", whole.error));
    let text = std::str::from_utf8(body).unwrap();
    let chunks = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let chunks: Vec<Value> = chunks.map(|data| serde_json::from_str(data).unwrap()).collect();
    for choice in &response.choices {
        let (text, refusal, arguments, finish) = naive_choice(&chunks, choice.index);
        assert_eq!((choice.text().into_owned(), choice.refusal().unwrap_or_default()), (text, &*refusal), "{id}");
        assert_eq!(choice.tool_calls().map(|call| &*call.arguments).collect::<String>(), arguments, "{id}");
        assert_eq!(choice.finish.to_string(), finish, "{id}");
        assert!(choice.tool_calls().all(|call| !call.id.is_empty() && !call.name.is_empty()), "{id}");
    }
    assert_eq!(whole.receipt.usage(), chunks.iter().rev().find_map(|chunk| usage(&chunk["usage"])), "{id}");
    further_fields(id, &response, &chunks[0]);
    let mut decoder = ChunkDecoder::default();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let mut decoded: Vec<_> = data.flat_map(|data| decoder.decode(data).unwrap()).collect();
    decoded.extend(decoder.finish().unwrap());
    assert_eq!(whole.events, decoded, "{id}: nothing is lost that was held back");
    let bytes = (0..body.len()).map(|at| body.slice(at..=at));
    assert_eq!(block_on(play(Canned::events(bytes))).unwrap().events, whole.events, "{id} byte by byte");
    block_on(cut_everywhere(id, body));
}

/// Cuts the first and the last events, which have different forms, at every position; in the full run, all events. A
/// cut affects no other event, so each event is played alone.
async fn cut_everywhere(id: &str, body: &Bytes) {
    let text = std::str::from_utf8(body).unwrap();
    let all: Vec<_> = text.split_inclusive("\n\n").map(|event| body.slice_ref(event.as_bytes())).collect();
    let (first, last) = if is_full() { (all.len(), 0) } else { (3, 4) };
    for event in all.iter().take(first).chain(all.iter().rev().take(last)) {
        let events = async |pieces: [Bytes; 2]| play(Canned::events(pieces)).await.map(|read| read.events).ok();
        let expected = events([event.clone(), Bytes::new()]).await;
        for at in cuts(id, event.len(), 7) {
            let cut = events([event.slice(..at), event.slice(at..)]).await;
            assert_eq!(cut, expected, "{id} cut at {at} of {event:?}");
        }
    }
}

fn naive_choice(chunks: &[Value], index: u32) -> (String, String, String, String) {
    let (mut text, mut refusal, mut finish) = Default::default();
    let push = |to: &mut String, value: &Value| to.push_str(value.as_str().unwrap_or_default());
    let choices = chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap());
    // The arguments of several calls are compared one call after the other.
    let mut calls: Vec<String> = Vec::new();
    for choice in choices.filter(|choice| choice["index"] == index) {
        push(&mut text, &choice["delta"]["content"]);
        push(&mut refusal, &choice["delta"]["refusal"]);
        push(&mut finish, &choice["finish_reason"]);
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let at = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            calls.resize(calls.len().max(at + 1), String::new());
            push(&mut calls[at], &call["function"]["arguments"]);
        }
    }
    (text, refusal, calls.concat(), finish)
}

fn further_fields(id: &str, response: &ChatResponse, first: &Value) {
    for name in ["created", "system_fingerprint", "service_tier"] {
        assert_eq!(response.extra.get(name), first.get(name), "{id} {name}");
    }
}

fn usage(naive: &Value) -> Option<Usage> {
    let number = |pointer: &str| naive.pointer(pointer).and_then(Value::as_u64);
    let mut usage = Usage::new(number("/prompt_tokens")?, number("/completion_tokens").unwrap_or(0));
    usage.cache_read = number("/prompt_tokens_details/cached_tokens").unwrap_or(0);
    usage.cache_write = number("/prompt_tokens_details/cache_write_tokens").unwrap_or(0);
    usage.audio_input = number("/prompt_tokens_details/audio_tokens").unwrap_or(0);
    usage.reasoning = number("/completion_tokens_details/reasoning_tokens").unwrap_or(0);
    usage.audio_output = number("/completion_tokens_details/audio_tokens").unwrap_or(0);
    Some(usage)
}
