use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::genai::{
    adapter::AdapterKind,
    chat::{ChatStream as GenaiStream, ChatStreamEvent, StreamEnd},
};
use futures_core::Stream;
use llm_core::{Charge, ChatEvent, Error, ErrorKind, Part, Receipt, chat::Reasoning};

use super::{
    error::classify,
    response::{called, finish, signed_through, usage},
};
use crate::{
    deadline::{Alarm, Deadline},
    telemetry::CallSpan,
};

/// A `genai` stream as pieces of a response.
pub(super) struct Pieces {
    source: GenaiStream,
    kind: AdapterKind,
    model: Arc<str>,
    alarm: Alarm,
    receipt: Receipt,
    span: CallSpan,
    waiting: VecDeque<Result<ChatEvent, Error>>,
    /// True if the last piece was reasoning, which a signature may follow.
    thinking: bool,
    ended: bool,
}

impl Pieces {
    pub(super) fn new(
        source: GenaiStream,
        kind: AdapterKind,
        model: Arc<str>,
        deadline: Deadline,
        receipt: Receipt,
        span: CallSpan,
    ) -> Self {
        let start = ChatEvent::Start { id: Arc::default(), model: Arc::clone(&model) };
        receipt.edit(|accounting| accounting.model = Some(Arc::clone(&model)));
        let waiting = VecDeque::from([Ok(start)]);
        Self { source, kind, model, alarm: deadline.alarm(), receipt, span, waiting, thinking: false, ended: false }
    }

    /// Waits for the first piece. `genai` says that a stream has started before it has asked.
    pub(super) async fn open(&mut self) -> Result<(), Error> {
        match poll_fn(|cx| self.poll_source(cx)).await {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// Reads until there is something to give: the error, if it is one.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Error>> {
        let before = self.waiting.len();
        while self.waiting.len() == before && !self.ended {
            let event = match Pin::new(&mut self.source).poll_next(cx) {
                Poll::Ready(event) => event,
                Poll::Pending => {
                    let late = ready!(self.alarm.poll(cx));
                    return Poll::Ready(Some(self.fail(late)));
                }
            };
            match event {
                Some(Ok(event)) => self.take(event),
                Some(Err(error)) => {
                    let error = classify(error, self.kind);
                    return Poll::Ready(Some(self.fail(error)));
                }
                None => {
                    let broken = Error::new(ErrorKind::Incomplete, "the stream broke off before its end");
                    let error = broken.with_charge(Charge::Unknown);
                    return Poll::Ready(Some(self.fail(error)));
                }
            }
        }
        Poll::Ready(None)
    }

    fn fail(&mut self, error: Error) -> Error {
        self.ended = true;
        error
    }

    fn take(&mut self, event: ChatStreamEvent) {
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
            ChatStreamEvent::End(end) => return self.end(end),
        };
        self.waiting.push_back(Ok(piece));
    }

    /// Queues the tool calls, which `genai` has whole only at the end, and the end itself.
    fn end(&mut self, end: StreamEnd) {
        self.ended = true;
        if let Some(id) = &end.captured_response_id {
            let start = ChatEvent::Start { id: id.as_str().into(), model: Arc::clone(&self.model) };
            self.waiting.push_back(Ok(start));
        }
        let reason = finish(end.captured_stop_reason.as_ref());
        let usage = end.captured_usage.as_ref().and_then(usage);
        let content = end.captured_content.into_iter().flatten();
        let calls = content.filter_map(|part| part.into_tool_call()).map(|call| Part::ToolCall(called(call)));
        self.waiting.extend(calls.map(|part| Ok(ChatEvent::Part { choice: 0, part })));
        self.waiting.push_back(Ok(ChatEvent::Finish { choice: 0, reason }));
        if let Some(usage) = usage {
            self.receipt.edit(|accounting| accounting.usage = Some(usage));
            self.span.used(usage);
            self.waiting.push_back(Ok(ChatEvent::Usage(usage)));
        }
        self.span.answered(&self.model);
    }
}

/// Converts a signature: of the reasoning right before, otherwise of reasoning that is not shown.
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

impl Stream for Pieces {
    type Item = Result<ChatEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.waiting.is_empty()
            && !self.ended
            && let Some(error) = ready!(self.poll_source(cx))
        {
            self.span.failed(&error);
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(self.waiting.pop_front())
    }
}
