//! Streams, token estimates and vectors of scripted responses.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use llm_core::{ChatEvent, ChatResponse, EmbedInput, EmbedRequest, Error};
use tokio::time::{Sleep, sleep};

use crate::{deadline::Alarm, forward::EventSource};

/// Events that are returned one by one, with a pause between them.
pub(super) struct Paced {
    events: VecDeque<Result<ChatEvent, Error>>,
    pace: Duration,
    wait: Option<Pin<Box<Sleep>>>,
    alarm: Alarm,
}

impl Paced {
    pub(super) fn new(
        events: impl IntoIterator<Item = Result<ChatEvent, Error>>,
        pace: Duration,
        alarm: Alarm,
    ) -> Self {
        Self { events: events.into_iter().collect(), pace, wait: None, alarm }
    }
}

impl EventSource for Paced {
    fn poll_read(&mut self, events: &mut VecDeque<ChatEvent>, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        if let Some(wait) = &mut self.wait {
            if wait.as_mut().poll(cx).is_pending() {
                return Poll::Ready(Err(ready!(self.alarm.poll(cx))));
            }
            self.wait = None;
        }
        events.extend(self.events.pop_front().transpose()?);
        if !(self.pace.is_zero() || self.events.is_empty()) {
            self.wait = Some(Box::pin(sleep(self.pace)));
        }
        Poll::Ready(Ok(!self.events.is_empty()))
    }
}

/// Estimates one token for every four bytes, at least one.
pub(super) fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4).max(1) as u64
}

/// Returns the number of bytes of text, reasoning and tool calls in a response.
pub(super) fn spoken_bytes(response: &ChatResponse) -> usize {
    let said = response.choices.iter().map(|choice| {
        let calls = choice.tool_calls().map(|call| call.name.len() + call.arguments.len());
        choice.text().len() + choice.reasoning().len() + calls.sum::<usize>()
    });
    said.sum()
}

/// Returns the texts of an embeddings request, one in each line. Inputs that are tokens become numbers.
pub(super) fn embedded_text(request: &EmbedRequest) -> String {
    let texts = request.inputs.iter().map(|input| match input {
        EmbedInput::Text(text) => text.to_string(),
        EmbedInput::Tokens(tokens) => format!("{tokens:?}"),
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// Computes a vector from the input alone. It has `dimensions` numbers from 0 to 1; eight by default.
pub(super) fn vector(input: &EmbedInput, dimensions: Option<u32>) -> Arc<[f32]> {
    let bytes: Vec<u8> = match input {
        EmbedInput::Text(text) => text.bytes().collect(),
        EmbedInput::Tokens(tokens) => tokens.iter().flat_map(|token| token.to_le_bytes()).collect(),
    };
    // FNV-1a, because the vectors need no better hash.
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let start = bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step);
    let number = |at: u32| {
        let hash = at.to_le_bytes().into_iter().fold(start, step);
        (hash >> 40) as f32 / (1u32 << 24) as f32
    };
    (0..dimensions.unwrap_or(8)).map(number).collect()
}
