use std::collections::BTreeSet;

use llm_core::{ChatEvent, Error, Extra, FinishReason, Part, chat::ExtraOf};

use super::{
    super::{
        decode::{split_content, take_finish},
        fields::{Fields, take_list, take_object},
    },
    details::OpenDetails,
    tool::OpenCalls,
};

/// Choice of which pieces are still arriving.
#[derive(Debug, Default)]
pub(super) struct OpenChoice {
    /// Reason for the choice's end, as stated so far.
    finish: FinishReason,
    /// True if content arrived after a reason for the end, so that the reasons of this server do not mark the end.
    went_on: bool,
    /// True if content has arrived.
    has_content: bool,
    /// Names of unknown fields that were emitted: those of the choice and those of the message.
    choice_names: BTreeSet<String>,
    message_names: BTreeSet<String>,
    calls: OpenCalls,
    details: OpenDetails,
}

impl OpenChoice {
    /// Returns `true` if the choice has a reason for its end.
    pub(super) fn is_finished(&self) -> bool {
        self.finish != FinishReason::Unknown
    }

    /// Returns `true` if content or the reason for the choice's end has arrived.
    pub(super) fn has_begun(&self) -> bool {
        self.has_content || self.is_finished()
    }

    /// Returns `true` if the choice has a reason for its end, and no content arrived after it. Some servers send a
    /// reason in every chunk.
    pub(super) fn is_ended(&self) -> bool {
        self.is_finished() && !self.went_on
    }

    /// Returns the events for a chunk of this choice.
    pub(super) fn chunk(&mut self, choice: u32, mut fields: Fields, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let mut delta = take_object(&mut fields, "delta").unwrap_or_default();
        delta.remove("role");
        let parts = split_content(&mut delta)?;
        let calls = take_list(&mut delta, "tool_calls").unwrap_or_default();
        let function = take_object(&mut delta, "function_call");
        let details = take_list(&mut delta, "reasoning_details").unwrap_or_default();
        let has_content = !(parts.is_empty() && calls.is_empty() && function.is_none() && details.is_empty());
        self.went_on |= has_content && self.is_finished();
        self.has_content |= has_content;
        events.extend(parts.into_iter().map(|part| piece(choice, part)));
        for (call, at) in calls.into_iter().zip(0..) {
            self.calls.fragment(choice, at, call, events)?;
        }
        if let Some(function) = function {
            self.calls.deprecated(choice, function, events)?;
        }
        self.details.fragments(details)?;
        let reason = take_finish(&mut fields)?;
        unknown_fields(ExtraOf::Message(choice), delta, &mut self.message_names, events);
        unknown_fields(ExtraOf::Choice(choice), fields, &mut self.choice_names, events);
        self.finish.update(&reason);
        Ok(())
    }

    /// Adds the events that were held back for the end of the stream, and then the reason for the choice's end.
    pub(super) fn close(&mut self, choice: u32, events: &mut Vec<ChatEvent>) {
        self.calls.flush(choice, events);
        events.extend(self.details.take().map(|part| ChatEvent::Part { choice, part }));
        // The event is added even without a reason, because it shows to readers that the choice exists.
        events.push(ChatEvent::Finish { choice, reason: self.finish.clone() });
    }
}

fn piece(choice: u32, part: Part) -> ChatEvent {
    match part {
        Part::Text { text, .. } => ChatEvent::Text { choice, text },
        Part::Refusal { text } => ChatEvent::Refusal { choice, text },
        Part::Reasoning(reasoning) => ChatEvent::Reasoning { choice, text: reasoning.text },
        part => ChatEvent::Part { choice, part },
    }
}

/// Emits unknown fields. A null is emitted only if the field is new.
fn unknown_fields(of: ExtraOf, mut fields: Fields, names: &mut BTreeSet<String>, events: &mut Vec<ChatEvent>) {
    fields.retain(|name, value| !(value.is_null() && names.contains(name)));
    names.extend(fields.keys().cloned());
    if !fields.is_empty() {
        events.push(ChatEvent::Extra { of, fields: Extra::from(fields) });
    }
}
