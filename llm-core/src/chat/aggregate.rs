use std::{collections::BTreeMap, sync::Arc};

use super::{ChatEvent, ChatResponse, Choice, ExtraOf, FinishReason, Part, Reasoning, ToolCall};
use crate::{Extra, Usage};

/// Response assembled from the pieces of a stream that have arrived so far.
#[derive(Debug, Default)]
pub(super) struct Aggregate {
    id: Arc<str>,
    model: Arc<str>,
    extra: Extra,
    choices: BTreeMap<u32, Open>,
    usage: Option<Usage>,
    output_bytes: u64,
}

#[derive(Debug, Default)]
struct Open {
    index: u32,
    parts: Vec<OpenPart>,
    finish: FinishReason,
    extra: Extra,
    message_extra: Extra,
    /// True if the last part is complete, so that the next piece of its kind begins a new part.
    last_is_complete: bool,
}

#[derive(Debug)]
enum OpenPart {
    Text(String),
    Reasoning(String),
    Refusal(String),
    ToolCall { index: u32, id: Arc<str>, name: Arc<str>, arguments: String, extra: Extra },
    Whole(Part),
}

/// Aggregates the events of a streamed response into the complete response.
impl FromIterator<ChatEvent> for ChatResponse {
    fn from_iter<I: IntoIterator<Item = ChatEvent>>(events: I) -> Self {
        let mut aggregate = Aggregate::default();
        events.into_iter().for_each(|event| aggregate.push(&event));
        aggregate.take()
    }
}

impl Aggregate {
    pub(super) fn push(&mut self, event: &ChatEvent) {
        self.output_bytes += event.output_bytes();
        match event {
            ChatEvent::Start { id, model } => {
                self.id.clone_from(id);
                self.model.clone_from(model);
            }
            ChatEvent::Text { choice, text } => match self.choice(*choice).growing() {
                Some(OpenPart::Text(known)) => known.push_str(text),
                _ => self.open(*choice, OpenPart::Text(text.to_string())),
            },
            ChatEvent::Reasoning { choice, text } => match self.choice(*choice).growing() {
                Some(OpenPart::Reasoning(known)) => known.push_str(text),
                _ => self.open(*choice, OpenPart::Reasoning(text.to_string())),
            },
            ChatEvent::Refusal { choice, text } => match self.choice(*choice).growing() {
                Some(OpenPart::Refusal(known)) => known.push_str(text),
                _ => self.open(*choice, OpenPart::Refusal(text.to_string())),
            },
            ChatEvent::ToolCall { choice, index, id, name } => {
                let (id, name) = (id.clone(), name.clone());
                let (arguments, extra) = Default::default();
                self.open(*choice, OpenPart::ToolCall { index: *index, id, name, arguments, extra });
            }
            ChatEvent::ToolArguments { choice, index, fragment } => self.arguments(*choice, *index, fragment),
            ChatEvent::PartEnd { choice, signature, extra } => {
                self.choice(*choice).complete_part(signature.as_ref(), extra)
            }
            ChatEvent::Part { choice, part } => self.open(*choice, OpenPart::Whole(part.clone())),
            ChatEvent::Finish { choice, reason } => self.choice(*choice).finish.update(reason),
            ChatEvent::Extra { of, fields } => match *of {
                ExtraOf::Response => self.extra.merge(fields),
                ExtraOf::Choice(choice) => self.choice(choice).extra.merge(fields),
                ExtraOf::Message(choice) => self.choice(choice).message_extra.merge(fields),
            },
            ChatEvent::Usage(usage) => self.usage = Some(*usage),
        }
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    pub(super) fn output_bytes(&self) -> u64 {
        self.output_bytes
    }

    /// Sets the reason [`Length`](FinishReason::Length) for all choices that have not ended. Returns the
    /// [`Finish`](ChatEvent::Finish) events of these choices, in reverse order.
    pub(super) fn finish_open(&mut self) -> Vec<ChatEvent> {
        let open = self.choices.iter_mut().rev().filter(|(_, open)| open.finish == FinishReason::Unknown);
        open.map(|(choice, open)| {
            open.finish = FinishReason::Length;
            ChatEvent::Finish { choice: *choice, reason: FinishReason::Length }
        })
        .collect()
    }

    /// Removes and returns the response that has arrived so far, but keeps the usage and the number of output bytes.
    pub(super) fn take(&mut self) -> ChatResponse {
        let Self { id, model, extra, choices, usage: _, output_bytes: _ } = self;
        let choices = std::mem::take(choices).into_values().map(Open::close).collect();
        ChatResponse { id: std::mem::take(id), model: std::mem::take(model), choices, extra: std::mem::take(extra) }
    }

    fn arguments(&mut self, choice: u32, at: u32, fragment: &str) {
        let parts = &mut self.choice(choice).parts;
        let known = parts.iter_mut().rev().find_map(|part| match part {
            OpenPart::ToolCall { index, arguments, .. } if *index == at => Some(arguments),
            _ => None,
        });
        match known {
            Some(arguments) => arguments.push_str(fragment),
            None => {
                // Arguments of a tool call whose beginning never arrived are kept under an empty name, so that they are
                // not lost.
                let (id, name, extra) = Default::default();
                parts.push(OpenPart::ToolCall { index: at, id, name, arguments: fragment.to_owned(), extra });
            }
        }
    }

    fn open(&mut self, choice: u32, part: OpenPart) {
        let choice = self.choice(choice);
        choice.last_is_complete = false;
        choice.parts.push(part);
    }

    fn choice(&mut self, index: u32) -> &mut Open {
        self.choices.entry(index).or_insert_with(|| Open { index, ..Open::default() })
    }
}

impl Open {
    /// Returns the last part, unless it is complete.
    fn growing(&mut self) -> Option<&mut OpenPart> {
        if self.last_is_complete { None } else { self.parts.last_mut() }
    }

    /// Completes the last part. Unknown fields that this kind of part cannot hold go to the message.
    fn complete_part(&mut self, signature: Option<&Arc<str>>, extra: &Extra) {
        self.last_is_complete = true;
        let fields = match self.parts.last_mut() {
            Some(OpenPart::ToolCall { extra, .. }) => extra,
            Some(part @ (OpenPart::Text(_) | OpenPart::Reasoning(_))) if signature.is_some() || !extra.is_empty() => {
                part.settle(signature);
                match part {
                    OpenPart::Whole(Part::Text { extra, .. } | Part::Reasoning(Reasoning { extra, .. })) => extra,
                    _ => return,
                }
            }
            _ => &mut self.message_extra,
        };
        fields.merge(extra);
    }

    fn close(self) -> Choice {
        let Self { index, parts, finish, extra, message_extra, last_is_complete: _ } = self;
        let parts = parts.into_iter().map(OpenPart::close).collect();
        Choice { index, parts, finish, extra, message_extra }
    }
}

impl OpenPart {
    /// Completes a part of text or reasoning, the latter with its signature.
    fn settle(&mut self, signature: Option<&Arc<str>>) {
        let mut whole = std::mem::replace(self, Self::Text(String::new())).close();
        if let Part::Reasoning(reasoning) = &mut whole {
            reasoning.signature = signature.cloned();
        }
        *self = Self::Whole(whole);
    }

    fn close(self) -> Part {
        match self {
            Self::Text(text) => Part::text(text),
            Self::Refusal(text) => Part::Refusal { text: text.into() },
            Self::Reasoning(text) => Part::Reasoning(Reasoning { text: text.into(), ..Reasoning::default() }),
            Self::ToolCall { index: _, id, name, arguments, extra } => {
                Part::ToolCall(ToolCall { id, name, arguments: arguments.into(), extra })
            }
            Self::Whole(part) => part,
        }
    }
}
