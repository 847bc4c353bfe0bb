use std::collections::BTreeSet;

use llm_core::{ChatEvent, Error, Extra, ExtraOf, Part};

use super::{
    super::{
        decode::{check_finish, finish_reason, split_content},
        fields::{Fields, take_list, take_object, take_text},
    },
    details::OpenDetails,
    tool::OpenCalls,
};

/// A choice whose pieces are coming.
#[derive(Debug, Default)]
pub(super) struct OpenChoice {
    finished: bool,
    /// Names of further fields that were passed on: of the choice, of the message.
    choice_names: BTreeSet<String>,
    message_names: BTreeSet<String>,
    calls: OpenCalls,
    details: OpenDetails,
}

impl OpenChoice {
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The pieces in one chunk's choice.
    pub(super) fn chunk(&mut self, choice: u32, mut fields: Fields, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let mut delta = take_object(&mut fields, "delta").unwrap_or_default();
        delta.remove("role");
        events.extend(split_content(&mut delta)?.into_iter().map(|part| piece(choice, part)));
        for (call, at) in take_list(&mut delta, "tool_calls").unwrap_or_default().into_iter().zip(0..) {
            self.calls.fragment(choice, at, call, events)?;
        }
        if let Some(function) = take_object(&mut delta, "function_call") {
            self.calls.deprecated(choice, function, events)?;
        }
        self.details.fragments(take_list(&mut delta, "reasoning_details").unwrap_or_default())?;
        let reason = take_text(&mut fields, "finish_reason");
        further(ExtraOf::Message(choice), delta, &mut self.message_names, events);
        further(ExtraOf::Choice(choice), fields, &mut self.choice_names, events);
        if let Some(reason) = reason {
            check_finish(&reason)?;
            self.flush(choice, events);
            // Some servers say it twice.
            if !self.finished {
                events.push(ChatEvent::Finish { choice, reason: finish_reason(&reason) });
            }
            self.finished = true;
        }
        Ok(())
    }

    /// What was held back for the end.
    pub(super) fn flush(&mut self, choice: u32, events: &mut Vec<ChatEvent>) {
        self.calls.flush(choice, events);
        events.extend(self.details.take().map(|part| ChatEvent::Part { choice, part }));
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

/// Passes further fields on. Null says something only the first time.
fn further(of: ExtraOf, mut fields: Fields, names: &mut BTreeSet<String>, events: &mut Vec<ChatEvent>) {
    fields.retain(|name, value| !(value.is_null() && names.contains(name)));
    names.extend(fields.keys().cloned());
    if !fields.is_empty() {
        events.push(ChatEvent::Extra { of, fields: Extra::from(fields) });
    }
}
