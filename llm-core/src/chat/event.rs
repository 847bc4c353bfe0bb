use std::sync::Arc;

use super::{ChatResponse, Choice, FinishReason, Part, Reasoning, ToolCall};
use crate::{Extra, Usage};

/// A piece of a streamed response.
///
/// ```
/// use llm_core::{ChatEvent, FinishReason, Usage};
///
/// let events = [
///     ChatEvent::Start { id: "1".into(), model: "m".into() },
///     ChatEvent::Text { choice: 0, text: "yes".into() },
///     ChatEvent::Finish { choice: 0, reason: FinishReason::Stop },
///     ChatEvent::Usage(Usage::new(10, 1)),
/// ];
/// assert_eq!(events.iter().map(ChatEvent::output_bytes).sum::<u64>(), 3);
/// ```
///
/// Pieces of several choices may interleave; each names its choice.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ChatEvent {
    /// Beginning of the response. A later `Start` replaces the id and the model, because the vendor named them late or
    /// another model continued the response.
    Start {
        /// Vendor's id of the response.
        id: Arc<str>,
        /// Name of the model that answers.
        model: Arc<str>,
    },
    /// Next piece of a choice's text.
    Text {
        /// Index of the choice.
        choice: u32,
        /// Text to append to the pieces that arrived before.
        text: Arc<str>,
    },
    /// Next piece of a choice's reasoning.
    Reasoning {
        /// Index of the choice.
        choice: u32,
        /// Text to append to the pieces that arrived before.
        text: Arc<str>,
    },
    /// Next piece of the text by which the model refuses.
    Refusal {
        /// Index of the choice.
        choice: u32,
        /// Text to append to the pieces that arrived before.
        text: Arc<str>,
    },
    /// Beginning of a tool call.
    ToolCall {
        /// Index of the choice.
        choice: u32,
        /// Index of the call among the choice's tool calls.
        index: u32,
        /// Vendor's id of this call.
        id: Arc<str>,
        /// Name of the tool.
        name: Arc<str>,
    },
    /// Next piece of a tool call's arguments.
    ToolArguments {
        /// Index of the choice.
        choice: u32,
        /// Index of the call among the choice's tool calls.
        index: u32,
        /// Piece of JSON text to append to the pieces that arrived before.
        fragment: Arc<str>,
    },
    /// End of a choice's last part, so that the next piece of the same kind begins a new part.
    PartEnd {
        /// Index of the choice.
        choice: u32,
        /// Vendor's signature of the part, if it is reasoning and is signed.
        signature: Option<Arc<str>>,
        /// Unknown fields of the part.
        extra: Extra,
    },
    /// Part of a choice that arrived in one piece.
    Part {
        /// Index of the choice.
        choice: u32,
        /// The part.
        part: Part,
    },
    /// Reason why a choice ended. A later reason [replaces](FinishReason::update) an earlier one.
    Finish {
        /// Index of the choice.
        choice: u32,
        /// Reason for its end.
        reason: FinishReason,
    },
    /// Unknown fields of the response, of a choice, or of the message in a choice.
    Extra {
        /// Part of the response that has the fields.
        of: ExtraOf,
        /// The fields.
        fields: Extra,
    },
    /// Tokens that the response has taken so far. A later usage replaces an earlier one.
    Usage(Usage),
}

/// Part of a response that has unknown fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtraOf {
    /// The whole response.
    Response,
    /// The choice with this index.
    Choice(u32),
    /// The message in the choice with this index.
    Message(u32),
}

impl ChatEvent {
    /// Returns the number of bytes of output in this event: text, reasoning or tool arguments.
    pub fn output_bytes(&self) -> u64 {
        match self {
            Self::Text { text, .. } | Self::Reasoning { text, .. } | Self::Refusal { text, .. } => text.len() as u64,
            Self::ToolArguments { fragment, .. } => fragment.len() as u64,
            Self::Part { part, .. } => part.text_bytes().unwrap_or(0),
            _ => 0,
        }
    }

    /// Returns `true` for an event that carries content: text, reasoning, a refusal, a tool call, any other part, or
    /// the end of a choice. The future of a streamed call is ready at the first such event.
    pub fn is_content(&self) -> bool {
        match self {
            Self::Text { text, .. } | Self::Reasoning { text, .. } | Self::Refusal { text, .. } => !text.is_empty(),
            Self::ToolCall { .. } | Self::ToolArguments { .. } | Self::Part { .. } | Self::Finish { .. } => true,
            Self::Start { .. } | Self::PartEnd { .. } | Self::Extra { .. } | Self::Usage(_) => false,
        }
    }

    /// Returns the events of a complete response, followed by its usage if it is given. Collecting the events into a
    /// [`ChatResponse`] restores the response.
    ///
    /// ```
    /// use llm_core::{ChatEvent, ChatResponse, Choice, FinishReason, Part};
    ///
    /// let choice = Choice::new(0, vec![Part::text("yes")], FinishReason::Stop);
    /// let response = ChatResponse::new("1", "m", vec![choice]);
    /// let events = ChatEvent::replay(&response, None);
    /// assert_eq!(ChatResponse::from_iter(events), response);
    /// ```
    pub fn replay(response: &ChatResponse, usage: Option<Usage>) -> Vec<Self> {
        let ChatResponse { id, model, choices, extra } = response;
        let mut events = vec![Self::Start { id: id.clone(), model: model.clone() }];
        if !extra.is_empty() {
            events.push(Self::Extra { of: ExtraOf::Response, fields: extra.clone() });
        }
        for choice in choices {
            replay_choice(choice, &mut events);
        }
        events.extend(usage.map(Self::Usage));
        events
    }
}

fn replay_choice(choice: &Choice, events: &mut Vec<ChatEvent>) {
    let Choice { index, parts, finish, extra, message_extra } = choice;
    let index = *index;
    let mut calls = 0;
    let mut parts = parts.iter().peekable();
    while let Some(part) = parts.next() {
        let (mut signature, mut unknown) = (None, Extra::default());
        match part {
            Part::Text { text, extra } => {
                events.push(ChatEvent::Text { choice: index, text: text.clone() });
                unknown.clone_from(extra);
            }
            Part::Refusal { text } => events.push(ChatEvent::Refusal { choice: index, text: text.clone() }),
            Part::Reasoning(Reasoning { text, signature: own, extra }) => {
                events.push(ChatEvent::Reasoning { choice: index, text: text.clone() });
                signature.clone_from(own);
                unknown.clone_from(extra);
            }
            Part::ToolCall(ToolCall { id, name, arguments, extra }) => {
                events.push(ChatEvent::ToolCall { choice: index, index: calls, id: id.clone(), name: name.clone() });
                let fragment = arguments.clone();
                events.push(ChatEvent::ToolArguments { choice: index, index: calls, fragment });
                unknown.clone_from(extra);
                calls += 1;
            }
            whole => events.push(ChatEvent::Part { choice: index, part: whole.clone() }),
        }
        // A `PartEnd` is sent between two parts of one kind, because a reader would join them into one part. Tool calls
        // need none, because a reader distinguishes them by their index.
        let kind = std::mem::discriminant(part);
        let flows =
            !matches!(part, Part::ToolCall(_)) && parts.peek().is_some_and(|next| kind == std::mem::discriminant(next));
        if flows || signature.is_some() || !unknown.is_empty() {
            events.push(ChatEvent::PartEnd { choice: index, signature, extra: unknown });
        }
    }
    for (of, fields) in [(ExtraOf::Choice(index), extra), (ExtraOf::Message(index), message_extra)] {
        if !fields.is_empty() {
            events.push(ChatEvent::Extra { of, fields: fields.clone() });
        }
    }
    // Sent even if the reason is unknown, because a choice without parts has no other event.
    events.push(ChatEvent::Finish { choice: index, reason: finish.clone() });
}
