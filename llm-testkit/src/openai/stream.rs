//! Encoding of chat completions as server-sent events.

use super::codec::OpenAi;
use super::dialect::{Thoughts, UsageChunk};
use super::unary::{CREATED, finish, prompt_filter, thought_part};
use crate::flavor::Flavor;
use crate::plan::Frame;
use crate::response::{ChatResponse, Choice, Content, Timeline};
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

impl OpenAi {
    /// Encodes the response as events, one in each frame.
    pub(super) fn chunks(&self, response: &ChatResponse, timeline: &Timeline<'_>, usage: bool) -> Vec<Frame> {
        let asked = usage && (response.include_usage || self.0.usage == UsageChunk::Unasked);
        let (first, last) = (timeline.first(), timeline.last());
        let mut frames = Vec::new();
        let mut push = |at: Duration, tokens: u64, chunk: &Value| {
            frames.push(Frame { at, tokens, bytes: event(chunk) });
        };
        let chunk = |choices: Value| {
            let mut chunk = self.chunk(response, choices);
            if asked && self.0.usage != UsageChunk::Unasked {
                chunk["usage"] = Value::Null;
            }
            chunk
        };
        if self.0.flavor == Flavor::Azure {
            push(first, 0, &azure_head());
        }
        for (index, choice) in response.choices.iter().enumerate() {
            let mut opening = chunk(json!([delta(index, self.opening(choice))]));
            if self.0.flavor == Flavor::Groq {
                opening["x_groq"] = json!({"id": response.id.replace("chatcmpl-", "req_")});
            }
            let shown = self.thoughts(choice, timeline.per_delta);
            push(first, if shown.is_empty() { choice.thinking } else { 0 }, &opening);
            for (text, tokens) in shown {
                push(first, tokens, &chunk(json!([delta(index, text)])));
            }
        }
        for said in response.deltas(timeline) {
            push(said.at, said.tokens, &chunk(json!([delta(said.index, fragment(said.choice, &said.text))])));
        }
        for (index, choice) in response.choices.iter().enumerate() {
            let end = json!([{"index": index, "delta": {}, "logprobs": null, "finish_reason": finish(&choice.finish)}]);
            let mut end = chunk(end);
            if index + 1 == response.choices.len() && usage {
                self.total(&mut end, response, asked);
            }
            push(last, 0, &end);
        }
        if asked && self.0.usage == UsageChunk::Own {
            push(last, 0, &self.total_chunk(response));
        }
        frames.push(Frame { at: last, tokens: 0, bytes: Bytes::from_static(b"data: [DONE]\n\n") });
        self.comment(&mut frames);
        frames
    }

    /// Returns an event with `length` bytes of text.
    pub(super) fn huge_chunk(&self, response: &ChatResponse, length: usize) -> Bytes {
        event(&self.chunk(response, json!([delta(0, json!({"content": "x".repeat(length)}))])))
    }

    /// Returns an event that ends the stream with an error. OpenRouter sends the error in an ordinary chunk.
    pub(super) fn error_chunk(&self, error: &Value, response: &ChatResponse) -> Bytes {
        if self.0.flavor != Flavor::OpenRouter {
            return event(error);
        }
        let end = json!([{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": null, "finish_reason": "error"}]);
        let mut chunk = self.chunk(response, end);
        chunk["error"] = error["error"].clone();
        event(&chunk)
    }

    /// Puts the usage into the chunk that finishes the last choice, for vendors that do so.
    fn total(&self, end: &mut Value, response: &ChatResponse, asked: bool) {
        let mut usage = self.usage(response);
        self.strip(&mut usage);
        if self.0.flavor == Flavor::Groq {
            let mut own = usage.clone();
            own.as_object_mut().and_then(|fields| fields.remove("prompt_tokens_details"));
            end["x_groq"] = json!({"id": response.id.replace("chatcmpl-", "req_"), "usage": own});
        }
        if asked && self.0.usage != UsageChunk::Own {
            end["usage"] = usage;
        }
    }

    /// Returns a separate chunk with the usage. OpenRouter's chunk also has a choice.
    fn total_chunk(&self, response: &ChatResponse) -> Value {
        let choices = match self.0.flavor {
            Flavor::OpenRouter => json!([delta(0, json!({"role": "assistant", "content": ""}))]),
            _ => json!([]),
        };
        let mut chunk = self.chunk(response, choices);
        chunk["usage"] = self.usage(response);
        self.strip(&mut chunk);
        chunk
    }

    /// Puts the vendor's comment before the first event, in the same frame.
    fn comment(&self, frames: &mut [Frame]) {
        if let Some(first) = frames.first_mut().filter(|_| !self.0.comment.is_empty()) {
            first.bytes = [self.0.comment.as_bytes(), &first.bytes].concat().into();
        }
    }

    fn chunk(&self, response: &ChatResponse, choices: Value) -> Value {
        let mut chunk = json!({
            "id": response.id, "object": "chat.completion.chunk", "created": CREATED, "model": response.model,
            "service_tier": "default", "system_fingerprint": "fp_simulated", "choices": choices,
        });
        self.dress(&mut chunk, response);
        chunk
    }

    fn opening(&self, choice: &Choice) -> Value {
        match &choice.content {
            Content::Text(_) if self.0.flavor == Flavor::OpenRouter => json!({"role": "assistant", "content": ""}),
            Content::Text(_) => json!({"role": "assistant", "content": "", "refusal": null}),
            Content::Tool { hash, name, .. } => json!({"role": "assistant", "content": null, "tool_calls":
                [{"index": 0, "id": self.call_id(*hash), "type": "function", "function": {"name": name, "arguments": ""}}]}),
        }
    }

    /// Returns the reasoning as deltas, each with its number of tokens; none if the vendor hides it.
    fn thoughts(&self, choice: &Choice, per_delta: usize) -> Vec<(Value, u64)> {
        let write = |text: &str| match self.0.thoughts {
            Thoughts::Hidden => None,
            Thoughts::Field(name) => Some(json!({name: text})),
            Thoughts::Parts => Some(json!({"content": [thought_part(text)]})),
        };
        let groups = choice.thoughts(per_delta);
        groups.iter().filter_map(|text| Some((write(text)?, crate::tokens::count(text)))).collect()
    }
}

/// Returns Azure's first chunk, which has no model and no choice.
fn azure_head() -> Value {
    json!({"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": prompt_filter()})
}

fn delta(index: usize, delta: Value) -> Value {
    json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null})
}

fn fragment(choice: &Choice, text: &str) -> Value {
    match &choice.content {
        Content::Text(_) => json!({"content": text}),
        Content::Tool { .. } => json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}),
    }
}

fn event(chunk: &Value) -> Bytes {
    format!("data: {chunk}\n\n").into()
}
