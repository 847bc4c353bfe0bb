//! Comparison of recorded responses with a naive reading of their JSON.

use bytes::Bytes;
use llm_providers::{
    OpenAi,
    llm_core::{Choice, Usage},
    openai::OpenAiProtocol,
    protocol::VendorProtocol,
};
use serde_json::Value;

use super::recordings::Pair;
use crate::streaming::{Canned, Read, block_on, cuts, play_to};

pub(super) fn vectors(pair: &Pair) {
    let naive: Value = serde_json::from_slice(&pair.body).unwrap();
    let inputs = pair.asked["input"].as_array().map_or(1, Vec::len);
    let decoded = OpenAiProtocol::new(pair.dialect).read_embeddings(&pair.body, inputs).unwrap();
    assert_eq!(*decoded.output.model, *naive["model"].as_str().unwrap(), "{}", pair.id);
    assert_eq!(decoded.usage, usage(pair, &naive["usage"]), "{}", pair.id);
    for (vector, item) in decoded.output.vectors.iter().zip(naive["data"].as_array().unwrap()) {
        let expected = match &item["embedding"] {
            Value::Array(numbers) => numbers.len(),
            text => text.as_str().unwrap().trim_end_matches('=').len() * 6 / 32,
        };
        assert_eq!(vector.len(), expected, "{}", pair.id);
    }
}

pub(super) fn whole(pair: &Pair) {
    let naive: Value = serde_json::from_slice(&pair.body).unwrap();
    let decoded =
        OpenAiProtocol::new(pair.dialect).read_chat(&pair.body).unwrap_or_else(|error| panic!("{}: {error}", pair.id));
    assert_eq!(decoded.usage, usage(pair, &naive["usage"]), "{}", pair.id);
    let choices = naive["choices"].as_array().unwrap();
    assert_eq!(decoded.output.choices.len(), choices.len(), "{}", pair.id);
    for (choice, naive) in decoded.output.choices.iter().zip(choices) {
        said(pair, choice, &[&naive["message"]]);
        assert_eq!(choice.finish.to_string(), naive["finish_reason"].as_str().unwrap(), "{}", pair.id);
    }
    if let Some(cost) = naive["usage"].get("cost") {
        assert_eq!(decoded.output.extra.get("usage").and_then(|usage| usage.get("cost")), Some(cost), "{}", pair.id);
    }
}

pub(super) fn stream(pair: &Pair) {
    let Pair { id, body, .. } = pair;
    let read = block_on(played(pair, [body.clone()])).unwrap();
    let response = read.response.clone().unwrap_or_else(|| panic!("{id}: {:?}", read.error));
    let text = std::str::from_utf8(body).unwrap();
    let chunks = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let chunks: Vec<Value> = chunks.map(|data| serde_json::from_str(data).unwrap()).collect();
    let naive: Vec<&Value> = chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap()).collect();
    assert_eq!(response.choices.len(), 1, "{id}");
    said(pair, &response.choices[0], &naive.iter().map(|choice| &choice["delta"]).collect::<Vec<_>>());
    let finish = naive.iter().find_map(|choice| choice["finish_reason"].as_str()).unwrap();
    assert_eq!(response.choices[0].finish.to_string(), finish, "{id}");
    let stated = |chunk: &Value| usage(pair, &chunk["usage"]).or_else(|| usage(pair, &chunk["x_groq"]["usage"]));
    assert_eq!(read.receipt.usage(), chunks.iter().rev().find_map(stated), "{id}");
    let byte_by_byte = (0..body.len()).map(|at| body.slice(at..=at));
    assert_eq!(block_on(played(pair, byte_by_byte)).unwrap().events, read.events, "{id} byte by byte");
    block_on(cut_everywhere(pair));
}

/// Cuts the first and the last events, which have different forms, at every position. A cut affects no other event, so
/// each event is played alone.
async fn cut_everywhere(pair: &Pair) {
    let text = std::str::from_utf8(&pair.body).unwrap();
    let all: Vec<_> = text.split_inclusive("\n\n").map(|event| pair.body.slice_ref(event.as_bytes())).collect();
    for event in all.iter().take(2).chain(all.iter().rev().take(2)) {
        let events = async |pieces: [Bytes; 2]| played(pair, pieces).await.map(|read| read.events).ok();
        let expected = events([event.clone(), Bytes::new()]).await;
        for at in cuts(&pair.id, event.len(), 7) {
            let cut = events([event.slice(..at), event.slice(at..)]).await;
            assert_eq!(cut, expected, "{} cut at {at} of {event:?}", pair.id);
        }
    }
}

async fn played(pair: &Pair, pieces: impl IntoIterator<Item = Bytes>) -> Result<Read, llm_providers::llm_core::Error> {
    play_to(&OpenAi::with_dialect(pair.dialect, None, Canned::events(pieces)).unwrap()).await
}

/// Checks that a choice has the content of its message, or of all its deltas together.
fn said(pair: &Pair, choice: &Choice, deltas: &[&Value]) {
    let all = |of: fn(&Value) -> String| deltas.iter().map(|delta| of(delta)).collect::<String>();
    assert_eq!(choice.text(), all(text), "{}", pair.id);
    assert_eq!(choice.reasoning(), all(thoughts), "{}", pair.id);
    assert_eq!(choice.refusal().unwrap_or_default(), all(|delta| owned(&delta["refusal"])), "{}", pair.id);
    // The arguments of several calls are compared one call after the other.
    let mut calls: Vec<[String; 3]> = Vec::new();
    for delta in deltas {
        for (call, at) in delta["tool_calls"].as_array().into_iter().flatten().zip(0u64..) {
            let at = usize::try_from(call["index"].as_u64().unwrap_or(at)).unwrap();
            calls.resize(calls.len().max(at + 1), Default::default());
            let pieces = [&call["id"], &call["function"]["name"], &call["function"]["arguments"]];
            calls[at].iter_mut().zip(pieces).for_each(|(known, piece)| known.push_str(&owned(piece)));
        }
    }
    let ours: Vec<_> =
        choice.tool_calls().map(|call| [&call.id, &call.name, &call.arguments].map(|text| text.to_string())).collect();
    assert_eq!(ours, calls, "{}", pair.id);
}

fn owned(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn text(message: &Value) -> String {
    match &message["content"] {
        Value::Array(parts) => parts.iter().map(|part| owned(&part["text"])).collect(),
        text => owned(text),
    }
}

fn thoughts(message: &Value) -> String {
    if let Value::Array(parts) = &message["content"] {
        let thinking = parts.iter().flat_map(|part| part["thinking"].as_array().into_iter().flatten());
        return thinking.map(|part| owned(&part["text"])).collect();
    }
    owned(if message["reasoning_content"].is_string() { &message["reasoning_content"] } else { &message["reasoning"] })
}

fn usage(pair: &Pair, naive: &Value) -> Option<Usage> {
    let number = |pointer: &str| naive.pointer(pointer).and_then(Value::as_u64);
    // If a server states zero prompt tokens, it did not count them.
    let prompt = number("/prompt_tokens").filter(|prompt| *prompt > 0)?;
    let mut usage = Usage::new(prompt, number("/completion_tokens").unwrap_or(0));
    let cached = number("/prompt_tokens_details/cached_tokens");
    let cached = cached.or(number("/prompt_cache_hit_tokens")).or(number("/num_cached_tokens")).unwrap_or(0);
    // A count of cached tokens above the input cannot be a part of the input.
    usage.cache_read = if cached > usage.input { 0 } else { cached };
    usage.cache_write = number("/prompt_tokens_details/cache_write_tokens").unwrap_or(0);
    usage.reasoning = number("/completion_tokens_details/reasoning_tokens").unwrap_or(0).min(usage.output);
    if pair.id.starts_with("gemini/") {
        usage.reasoning = number("/total_tokens").unwrap() - usage.input - usage.output;
        usage.output += usage.reasoning;
    }
    Some(usage)
}
