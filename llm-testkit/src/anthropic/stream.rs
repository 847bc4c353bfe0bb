//! Encoding of messages as server-sent events.

use super::unary::{call_id, ending, opening, usage};
use crate::plan::Frame;
use crate::response::{ChatResponse, Choice, Content, Timeline};
use crate::tokens;
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// Encodes the response as events, one in each frame.
pub(super) fn events(response: &ChatResponse, timeline: &Timeline<'_>, with_usage: bool) -> Vec<Frame> {
    let choice = &response.choices[0];
    let (first, last) = (timeline.first(), timeline.last());
    let mut frames = Vec::new();
    let mut push = |at: Duration, tokens: u64, data: Value| frames.push(Frame { at, tokens, bytes: event(&data) });
    let mut message = opening(response);
    if with_usage {
        message["usage"] = usage(response, response.output().min(1));
    }
    push(first, 0, json!({"type": "message_start", "message": message}));
    let mut index = 0;
    if choice.thinking > 0 {
        push(first, 0, start(index, json!({"type": "thinking", "thinking": "", "signature": ""})));
        push(first, 0, json!({"type": "ping"}));
        for (text, tokens) in thoughts(choice, timeline.per_delta) {
            push(first, tokens, delta(index, json!({"type": "thinking_delta", "thinking": text})));
        }
        push(first, 0, delta(index, json!({"type": "signature_delta", "signature": choice.signature()})));
        push(first, 0, stop(index));
        index += 1;
    }
    if let Some(block) = block(choice) {
        push(first, 0, start(index, block));
        if index == 0 {
            push(first, 0, json!({"type": "ping"}));
        }
        for said in response.deltas(timeline) {
            push(said.at, said.tokens, delta(index, fragment(choice, said.text)));
        }
        push(last, 0, stop(index));
    }
    let end: serde_json::Map<_, _> =
        ending(&choice.finish).map(|(name, value)| (name.into(), value)).into_iter().collect();
    let mut end = json!({"type": "message_delta", "delta": end});
    if with_usage {
        let mut total = usage(response, response.output());
        for once in ["cache_creation", "service_tier"] {
            total.as_object_mut().and_then(|fields| fields.remove(once));
        }
        end["usage"] = total;
    }
    push(last, 0, end);
    push(last, 0, json!({"type": "message_stop"}));
    frames
}

/// Returns an event with a delta of `length` bytes for the first content block.
pub(super) fn huge(response: &ChatResponse, length: usize) -> Bytes {
    let choice = &response.choices[0];
    let part = match &choice.content {
        _ if choice.thinking > 0 => json!({"type": "thinking_delta", "thinking": "x".repeat(length)}),
        Content::Text(_) => fragment(choice, "x".repeat(length)),
        // NOTE: white space keeps the arguments valid JSON.
        Content::Tool { .. } => fragment(choice, " ".repeat(length)),
    };
    event(&delta(0, part))
}

/// Returns an event whose name is the `type` of its data.
pub(super) fn event(data: &Value) -> Bytes {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default()).into()
}

/// Returns the reasoning in groups of `per_delta` tokens, each with its number of tokens. If the request hides the
/// reasoning, returns a single empty group with all its tokens.
fn thoughts(choice: &Choice, per_delta: usize) -> Vec<(String, u64)> {
    if !choice.shown {
        return vec![(String::new(), choice.thinking)];
    }
    let groups = choice.thoughts(per_delta).into_iter();
    groups.map(|text| (tokens::count(&text), text)).map(|(tokens, text)| (text, tokens)).collect()
}

/// Returns the content block as it begins, without its text or arguments; `None` if there is no content.
fn block(choice: &Choice) -> Option<Value> {
    match &choice.content {
        Content::Text(text) => (!text.is_empty()).then(|| json!({"type": "text", "text": ""})),
        Content::Tool { hash, name, .. } => {
            Some(json!({"type": "tool_use", "id": call_id(*hash), "name": name, "input": {}}))
        }
    }
}

fn fragment(choice: &Choice, text: String) -> Value {
    match &choice.content {
        Content::Text(_) => json!({"type": "text_delta", "text": text}),
        Content::Tool { .. } => json!({"type": "input_json_delta", "partial_json": text}),
    }
}

fn start(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn stop(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}
