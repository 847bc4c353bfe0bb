use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::genai::{
    adapter::AdapterKind,
    chat::{ChatStream as GenaiStream, ChatStreamEvent, StreamEnd},
};
use futures_core::Stream;
use llm_core::{Charge, ChatEvent, Error, ErrorKind, Part, chat::Reasoning};

use super::{
    error::classify,
    response::{called, finish, signed_through, usage},
};
use crate::{
    deadline::{Alarm, Deadline},
    forward::EventSource,
};

/// Events of a `genai` stream.
pub(super) struct Events {
    source: GenaiStream,
    kind: AdapterKind,
    model: Arc<str>,
    alarm: Alarm,
    /// Event that opens the stream; `None` once it was returned.
    start: Option<ChatEvent>,
    /// True if the last event was reasoning, after which a signature may follow.
    thinking: bool,
    ended: bool,
}

impl Events {
    pub(super) fn new(source: GenaiStream, kind: AdapterKind, model: Arc<str>, deadline: Deadline) -> Self {
        let start = ChatEvent::Start { id: Arc::default(), model: Arc::clone(&model) };
        Self { source, kind, model, alarm: deadline.alarm(), start: Some(start), thinking: false, ended: false }
    }

    fn take(&mut self, event: ChatStreamEvent, out: &mut VecDeque<ChatEvent>) {
        let thinking = std::mem::take(&mut self.thinking);
        let piece = match event {
            ChatStreamEvent::Start | ChatStreamEvent::Heartbeat | ChatStreamEvent::ToolCallChunk(_) => {
                self.thinking = thinking;
                return;
            }
            ChatStreamEvent::Chunk(chunk) => ChatEvent::Text { choice: 0, text: chunk.content.into() },
            ChatStreamEvent::ReasoningChunk(chunk) => {
                self.thinking = true;
                ChatEvent::Reasoning { choice: 0, text: chunk.content.into() }
            }
            ChatStreamEvent::ThoughtSignatureChunk(chunk) => signature(chunk.content.into(), self.kind, thinking),
            ChatStreamEvent::End(end) => return self.end(end, out),
        };
        out.push_back(piece);
    }

    /// Queues the tool calls, because `genai` returns complete calls only at the end of the stream, and then the reason
    /// for the end.
    fn end(&mut self, end: StreamEnd, out: &mut VecDeque<ChatEvent>) {
        self.ended = true;
        if let Some(id) = &end.captured_response_id {
            let start = ChatEvent::Start { id: id.as_str().into(), model: Arc::clone(&self.model) };
            out.push_back(start);
        }
        let reason = finish(end.captured_stop_reason.as_ref());
        let usage = end.captured_usage.as_ref().and_then(usage);
        let content = end.captured_content.into_iter().flatten();
        let calls = content.filter_map(|part| part.into_tool_call()).map(|call| Part::ToolCall(called(call)));
        out.extend(calls.map(|part| ChatEvent::Part { choice: 0, part }));
        out.push_back(ChatEvent::Finish { choice: 0, reason });
        out.extend(usage.map(ChatEvent::Usage));
    }
}

/// Converts a signature. If the last event was reasoning (`thinking`), the signature signs that reasoning. Otherwise it
/// signs reasoning that the vendor hides.
fn signature(text: Arc<str>, kind: AdapterKind, thinking: bool) -> ChatEvent {
    let (signature, extra) = (Some(text), signed_through(kind));
    match thinking {
        true => ChatEvent::PartEnd { choice: 0, signature, extra },
        false => {
            let part = Part::Reasoning(Reasoning { text: "".into(), signature, extra });
            ChatEvent::Part { choice: 0, part }
        }
    }
}

impl EventSource for Events {
    fn poll_read(&mut self, out: &mut VecDeque<ChatEvent>, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        out.extend(self.start.take());
        let event = match Pin::new(&mut self.source).poll_next(cx) {
            Poll::Ready(event) => event,
            Poll::Pending => return Poll::Ready(Err(ready!(self.alarm.poll(cx)))),
        };
        Poll::Ready(match event {
            Some(Ok(event)) => {
                self.take(event, out);
                Ok(!self.ended)
            }
            Some(Err(error)) => Err(classify(error, self.kind)),
            None => {
                let broken = Error::new(ErrorKind::Incomplete, "the stream broke off before its end");
                Err(broken.with_charge(Charge::Unknown))
            }
        })
    }
}
