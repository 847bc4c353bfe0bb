use std::sync::Arc;

use llm_core::{
    ChatEvent, Error, Extra, FinishReason, Part, ToolCall,
    chat::{ExtraOf, Reasoning},
};
use serde_json::Value;

use super::{
    super::{
        CallIds,
        decode::{GROUNDS, PartialCall, read_part, searches, take_finish},
        fields::{Fields, take_list, take_object},
    },
    unknown_fields::UnknownFields,
};

/// Kind of part that may extend over several chunks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Growing {
    Text,
    Reasoning,
}

/// Candidate of which pieces are still arriving.
#[derive(Debug)]
pub(super) struct OpenCandidate {
    index: u32,
    ids: CallIds,
    /// True if content has arrived.
    has_content: bool,
    growing: Option<Growing>,
    partial: PartialCall,
    finish: FinishReason,
    unknown_fields: UnknownFields,
    unknown_message_fields: UnknownFields,
}

impl OpenCandidate {
    pub(super) fn new(index: u32) -> Self {
        let (has_content, growing, partial, finish, unknown_fields, unknown_message_fields) = Default::default();
        Self {
            index,
            ids: CallIds::new(index),
            has_content,
            growing,
            partial,
            finish,
            unknown_fields,
            unknown_message_fields,
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finish != FinishReason::Unknown
    }

    /// Returns `true` if content or the reason for the candidate's end has arrived.
    pub(super) fn has_begun(&self) -> bool {
        self.has_content || self.partial.is_open() || self.is_finished()
    }

    /// Returns the number of searches that the vendor has stated.
    pub(super) fn searches(&self) -> u64 {
        searches(self.unknown_fields.get(GROUNDS))
    }

    /// Returns the events for a chunk of this candidate. `response` is the id of the response.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`](llm_core::ErrorKind::Malformed) if the arguments of a call arrived in pieces that do
    /// not fit together.
    pub(super) fn chunk(
        &mut self,
        response: &str,
        mut fields: Fields,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Error> {
        let mut message = take_object(&mut fields, "content").unwrap_or_default();
        message.remove("role");
        for part in take_list(&mut message, "parts").unwrap_or_default() {
            if let Some(part) = self.partial.take(part)? {
                self.part(response, part, events);
            }
        }
        self.has_content |= events.iter().any(ChatEvent::is_content);
        if fields.get("finishReason").is_some_and(|word| !word.is_null())
            && let Some(part) = self.partial.broken_off()
        {
            self.part(response, part, events);
        }
        let finish = take_finish(&mut fields, &self.ids);
        self.unknown_fields.take(fields);
        self.unknown_message_fields.take(message);
        self.end(finish, events);
        Ok(())
    }

    /// Emits the events of this candidate that were held back for the end of the stream.
    pub(super) fn emit(&mut self, events: &mut Vec<ChatEvent>) {
        self.unknown_fields.emit(ExtraOf::Choice(self.index), events);
        self.unknown_message_fields.emit(ExtraOf::Message(self.index), events);
    }

    /// Records the reason for the candidate's end. A function call that arrives after the end changes it.
    fn end(&mut self, finish: FinishReason, events: &mut Vec<ChatEvent>) {
        let finish = match (&self.finish, finish) {
            (FinishReason::Stop, FinishReason::Unknown) if self.ids.calls() > 0 => FinishReason::ToolCalls,
            (_, finish) => finish,
        };
        if finish != FinishReason::Unknown && finish != self.finish {
            self.finish.update(&finish);
            events.push(ChatEvent::Finish { choice: self.index, reason: finish });
        }
    }

    fn part(&mut self, response: &str, part: Value, events: &mut Vec<ChatEvent>) {
        let number = self.ids.calls();
        if let Some(part) = read_part(part, response, &mut self.ids) {
            self.piece(number, part, events);
        }
    }

    /// Turns a part into events. `number` is the index of a tool call. A part with a signature or unknown fields is not
    /// merged with its neighbours.
    fn piece(&mut self, number: u32, part: Part, events: &mut Vec<ChatEvent>) {
        let choice = self.index;
        let before = self.growing.take();
        let mut grow = |growing, apart: bool, event, events: &mut Vec<ChatEvent>| {
            if apart && before == Some(growing) {
                events.push(ChatEvent::PartEnd { choice, signature: None, extra: Extra::default() });
            }
            events.push(event);
            self.growing = (!apart).then_some(growing);
        };
        match part {
            Part::Text { text, extra } => {
                grow(Growing::Text, !extra.is_empty(), ChatEvent::Text { choice, text }, events);
                end(choice, None, extra, events);
            }
            Part::Reasoning(Reasoning { text, signature, extra }) => {
                let apart = signature.is_some() || !extra.is_empty();
                grow(Growing::Reasoning, apart, ChatEvent::Reasoning { choice, text }, events);
                end(choice, signature, extra, events);
            }
            Part::ToolCall(ToolCall { id, name, arguments, extra }) => {
                events.push(ChatEvent::ToolCall { choice, index: number, id, name });
                events.push(ChatEvent::ToolArguments { choice, index: number, fragment: arguments });
                end(choice, None, extra, events);
            }
            part => events.push(ChatEvent::Part { choice, part }),
        }
    }
}

/// Ends a part that has a signature or unknown fields.
fn end(choice: u32, signature: Option<Arc<str>>, extra: Extra, events: &mut Vec<ChatEvent>) {
    if signature.is_some() || !extra.is_empty() {
        events.push(ChatEvent::PartEnd { choice, signature, extra });
    }
}
