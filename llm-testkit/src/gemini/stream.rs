//! Answers in many pieces: server-sent events, or the items of one array.

use super::unary::{blocked, candidate, is_blocked, response, said, usage};
use crate::answer::{Answer, Content, Pace};
use crate::plan::Frame;
use crate::tokens;
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// The answer as pieces, one to a frame.
pub(super) fn events(answer: &Answer, pace: &Pace<'_>, with_usage: bool) -> Vec<Frame> {
    let mut stream = Stream { answer, with_usage, said: 0, thought: 0, frames: Vec::new() };
    if is_blocked(answer) {
        stream.push(pace.last(), 0, &blocked(answer, with_usage));
        return stream.close();
    }
    for (index, choice) in answer.choices.iter().enumerate() {
        if !choice.shown {
            continue;
        }
        for text in choice.thoughts(pace.per_delta) {
            let thought = tokens::count(&text);
            stream.thought += thought;
            stream.candidate(
                pace.first(),
                thought,
                candidate(index, vec![json!({"text": text, "thought": true})], None),
            );
        }
    }
    // NOTE: thoughts that are not shown are generated before the first piece that is.
    let mut hidden = answer.thinking() - stream.thought;
    stream.thought = answer.thinking();
    for delta in answer.deltas(pace) {
        stream.said += delta.tokens;
        hidden += delta.tokens;
        // NOTE: a call comes whole, when its last token is there.
        if matches!(delta.choice.content, Content::Text(_)) {
            let parts = said(delta.choice, &delta.text).into_iter().collect();
            stream.candidate(delta.at, std::mem::take(&mut hidden), candidate(delta.index, parts, None));
        }
    }
    for (index, choice) in answer.choices.iter().enumerate() {
        let parts = match &choice.content {
            Content::Text(_) => vec![json!({"text": ""})],
            Content::Tool { .. } => said(choice, "").into_iter().collect(),
        };
        stream.candidate(pace.last(), std::mem::take(&mut hidden), candidate(index, parts, Some(choice)));
    }
    stream.close()
}

/// A piece with `length` bytes of text in it, to be the second one or later.
pub(super) fn huge(answer: &Answer, length: usize) -> Bytes {
    let parts = vec![json!({"text": "x".repeat(length)})];
    piece(&response(answer, vec![candidate(0, parts, None)], None), answer.bare, 1)
}

/// The last piece, after `before` others.
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
    answer: &'a Answer,
    with_usage: bool,
    /// Tokens so far.
    said: u64,
    thought: u64,
    frames: Vec<Frame>,
}

impl Stream<'_> {
    fn candidate(&mut self, at: Duration, tokens: u64, candidate: Value) {
        let usage = self.with_usage.then(|| usage(self.answer, self.said, self.thought));
        self.push(at, tokens, &response(self.answer, vec![candidate], usage));
    }

    fn push(&mut self, at: Duration, tokens: u64, value: &Value) {
        let bytes = piece(value, self.answer.bare, self.frames.len());
        self.frames.push(Frame { at, tokens, bytes });
    }

    fn close(mut self) -> Vec<Frame> {
        if let (true, Some(frame)) = (self.answer.bare, self.frames.last_mut()) {
            frame.bytes = [&frame.bytes[..], b"\r\n]"].concat().into();
        }
        self.frames
    }
}
