//! Encoding of streamed responses as server-sent events, or as the items of one array.

use super::unary::{blocked, candidate, envelope, is_blocked, said, usage};
use crate::plan::Frame;
use crate::response::{ChatResponse, Content, Timeline};
use crate::tokens;
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// Returns the response as chunks, one in each frame.
pub(super) fn events(response: &ChatResponse, timeline: &Timeline<'_>, with_usage: bool) -> Vec<Frame> {
    let mut stream = Stream { response, with_usage, said: 0, thought: 0, frames: Vec::new() };
    if is_blocked(response) {
        stream.push(timeline.last(), 0, &blocked(response, with_usage));
        return stream.close();
    }
    for (index, choice) in response.choices.iter().enumerate() {
        if !choice.shown {
            continue;
        }
        for text in choice.thoughts(timeline.per_delta) {
            let thought = tokens::count(&text);
            stream.thought += thought;
            stream.candidate(
                timeline.first(),
                thought,
                candidate(index, vec![json!({"text": text, "thought": true})], None),
            );
        }
    }
    // NOTE: hidden reasoning is generated before the first visible chunk, so this chunk counts its tokens.
    let mut hidden = response.thinking() - stream.thought;
    stream.thought = response.thinking();
    for delta in response.deltas(timeline) {
        stream.said += delta.tokens;
        hidden += delta.tokens;
        // NOTE: a function call is sent in one chunk, at the time of its last token.
        if matches!(delta.choice.content, Content::Text(_)) {
            let parts = said(delta.choice, &delta.text).into_iter().collect();
            stream.candidate(delta.at, std::mem::take(&mut hidden), candidate(delta.index, parts, None));
        }
    }
    for (index, choice) in response.choices.iter().enumerate() {
        let parts = match &choice.content {
            Content::Text(_) => vec![json!({"text": ""})],
            Content::Tool { .. } => said(choice, "").into_iter().collect(),
        };
        stream.candidate(timeline.last(), std::mem::take(&mut hidden), candidate(index, parts, Some(choice)));
    }
    stream.close()
}

/// Returns a chunk with `length` bytes of text, to be inserted after the first chunk of a stream.
pub(super) fn huge(response: &ChatResponse, length: usize) -> Bytes {
    let parts = vec![json!({"text": "x".repeat(length)})];
    piece(&envelope(response, vec![candidate(0, parts, None)], None), response.bare, 1)
}

/// Returns the last chunk of a stream, which follows `before` others.
pub(super) fn last(value: &Value, bare: bool, before: usize) -> Bytes {
    let end: &[u8] = if bare { b"\r\n]" } else { b"" };
    [&piece(value, bare, before), end].concat().into()
}

fn piece(value: &Value, bare: bool, before: usize) -> Bytes {
    match (bare, before) {
        (false, _) => format!("data: {value}\r\n\r\n"),
        (true, 0) => format!("[{value}"),
        (true, _) => format!(",\r\n{value}"),
    }
    .into()
}

struct Stream<'a> {
    response: &'a ChatResponse,
    with_usage: bool,
    /// Number of content tokens in the chunks so far.
    said: u64,
    thought: u64,
    frames: Vec<Frame>,
}

impl Stream<'_> {
    fn candidate(&mut self, at: Duration, tokens: u64, candidate: Value) {
        let usage = self.with_usage.then(|| usage(self.response, self.said, self.thought));
        self.push(at, tokens, &envelope(self.response, vec![candidate], usage));
    }

    fn push(&mut self, at: Duration, tokens: u64, value: &Value) {
        let bytes = piece(value, self.response.bare, self.frames.len());
        self.frames.push(Frame { at, tokens, bytes });
    }

    fn close(mut self) -> Vec<Frame> {
        if let (true, Some(frame)) = (self.response.bare, self.frames.last_mut()) {
            frame.bytes = [&frame.bytes[..], b"\r\n]"].concat().into();
        }
        self.frames
    }
}
