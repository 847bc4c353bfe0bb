//! Chat completions as server-sent events.

use super::chat::{CREATED, Chat, Choice, Content};
use crate::plan::Frame;
use crate::tokens;
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

impl Chat {
    /// The answer as events, one to a frame, each with `per_delta` tokens. `moments` says when each token is generated.
    pub(crate) fn events(&self, id: &str, per_delta: usize, moments: &[Duration], usage: bool) -> Vec<Frame> {
        let usage = usage && self.include_usage;
        let first = moments.first().copied().unwrap_or_default();
        let last = moments.last().copied().unwrap_or_default();
        let mut frames = Vec::new();
        let mut push = |at: Duration, tokens: u64, choices: Value, total: Value| {
            frames.push(Frame { at, tokens, bytes: event(&self.chunk(id, choices, usage.then_some(total))) });
        };
        for (index, choice) in self.choices.iter().enumerate() {
            push(first, choice.reasoning, json!([choice.delta(index, choice.opening())]), Value::Null);
        }
        for (index, choice, at, pieces) in self.deltas(per_delta, moments) {
            let tokens = pieces.len() as u64;
            push(at, tokens, json!([choice.delta(index, choice.fragment(&pieces.concat()))]), Value::Null);
        }
        for (index, choice) in self.choices.iter().enumerate() {
            let end = json!([{"index": index, "delta": {}, "logprobs": null, "finish_reason": choice.finish}]);
            push(last, 0, end, Value::Null);
        }
        if usage {
            push(last, 0, json!([]), self.usage());
        }
        frames.push(Frame { at: last, tokens: 0, bytes: Bytes::from_static(b"data: [DONE]\n\n") });
        frames
    }

    /// An event with `length` bytes of text in it.
    pub(crate) fn huge_event(&self, id: &str, length: usize) -> Bytes {
        let delta =
            json!([{"index": 0, "delta": {"content": "x".repeat(length)}, "logprobs": null, "finish_reason": null}]);
        event(&self.chunk(id, delta, None))
    }

    /// What each delta holds and when its last token is there, in the order of time.
    fn deltas(&self, per_delta: usize, moments: &[Duration]) -> Vec<(usize, &Choice, Duration, Vec<&str>)> {
        let mut deltas = Vec::new();
        for (index, choice) in self.choices.iter().enumerate() {
            let pieces: Vec<_> = tokens::pieces(choice.content.generated()).collect();
            for (nth, group) in pieces.chunks(per_delta).enumerate() {
                let token = nth * per_delta + group.len() - 1;
                let at = moments.get(token).or(moments.last()).copied().unwrap_or_default();
                deltas.push((index, choice, at, group.to_vec(), nth));
            }
        }
        deltas.sort_by_key(|(index, _, at, _, nth)| (*at, *nth, *index));
        deltas.into_iter().map(|(index, choice, at, group, _)| (index, choice, at, group)).collect()
    }

    fn chunk(&self, id: &str, choices: Value, usage: Option<Value>) -> Value {
        let mut chunk = json!({
            "id": id, "object": "chat.completion.chunk", "created": CREATED, "model": self.model,
            "service_tier": "default", "system_fingerprint": "fp_simulated", "choices": choices,
        });
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        chunk
    }
}

impl Choice {
    fn delta(&self, index: usize, delta: Value) -> Value {
        json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null})
    }

    fn opening(&self) -> Value {
        match &self.content {
            Content::Text(_) => json!({"role": "assistant", "content": "", "refusal": null}),
            Content::Tool { id, name, .. } => json!({"role": "assistant", "content": null, "tool_calls":
                [{"index": 0, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]}),
        }
    }

    fn fragment(&self, text: &str) -> Value {
        match &self.content {
            Content::Text(_) => json!({"content": text}),
            Content::Tool { .. } => json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]}),
        }
    }
}

fn event(chunk: &Value) -> Bytes {
    format!("data: {chunk}\n\n").into()
}
