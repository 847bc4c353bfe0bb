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
    /// The response begins. A later one replaces the id and the model, because the vendor named them late or another
    /// model went on with the response.
    Start {
        /// The vendor's id of the response.
        id: Arc<str>,
        /// The model that answers.
        model: Arc<str>,
    },
    /// More text.
    Text {
        /// Number of the choice.
        choice: u32,
        /// The next piece.
        text: Arc<str>,
    },
    /// More reasoning.
    Reasoning {
        /// Number of the choice.
        choice: u32,
        /// The next piece.
        text: Arc<str>,
    },
    /// More of a refusal.
    Refusal {
        /// Number of the choice.
        choice: u32,
        /// The next piece.
        text: Arc<str>,
    },
    /// A tool call begins.
    ToolCall {
        /// Number of the choice.
        choice: u32,
        /// Number of the call among the choice's tool calls.
        index: u32,
        /// The vendor's name for this call.
        id: Arc<str>,
        /// The tool.
        name: Arc<str>,
    },
    /// More of a tool call's arguments.
    ToolArguments {
        /// Number of the choice.
        choice: u32,
        /// The call's number among the choice's tool calls.
        index: u32,
        /// The next piece of JSON text.
        fragment: Arc<str>,
    },
    /// The last part is complete: the next piece of the same kind begins a new part.
    PartEnd {
        /// Number of the choice.
        choice: u32,
        /// The vendor's signature, if it is reasoning and has one.
        signature: Option<Arc<str>>,
        /// Unknown fields of the part.
        extra: Extra,
    },
    /// A part that arrived in one piece.
    Part {
        /// Number of the choice.
        choice: u32,
        /// The part.
        part: Part,
    },
    /// The reason why a choice ended. A later reason [replaces](FinishReason::update) an earlier one.
    Finish {
        /// The choice.
        choice: u32,
        /// The reason.
        reason: FinishReason,
    },
    /// Unknown fields of the response, a choice of it, or the message in that.
    Extra {
        /// The part of the response that they belong to.
        of: ExtraOf,
        /// The fields.
        fields: Extra,
    },
    /// Tokens that the response took. Later figures replace earlier ones.
    Usage(Usage),
}

/// Part of a response that unknown fields belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtraOf {
    /// The whole response.
    Response,
    /// A choice.
    Choice(u32),
    /// The message in a choice.
    Message(u32),
}

impl ChatEvent {
    /// Returns the number of bytes of output: text, reasoning, tool arguments.
    pub fn output_bytes(&self) -> u64 {
        match self {
            Self::Text { text, .. } | Self::Reasoning { text, .. } | Self::Refusal { text, .. } => text.len() as u64,
            Self::ToolArguments { fragment, .. } => fragment.len() as u64,
            Self::Part { part, .. } => part.text_bytes().unwrap_or(0),
            _ => 0,
        }
    }

    /// Returns true for text, reasoning, a refusal, a tool call, any other part, or the end of a choice. A streamed
    /// call resolves at its first content; other events only accompany it.
    pub fn is_content(&self) -> bool {
        match self {
            Self::Text { text, .. } | Self::Reasoning { text, .. } | Self::Refusal { text, .. } => !text.is_empty(),
            Self::ToolCall { .. } | Self::ToolArguments { .. } | Self::Part { .. } | Self::Finish { .. } => true,
            Self::Start { .. } | Self::PartEnd { .. } | Self::Extra { .. } | Self::Usage(_) => false,
        }
    }

    /// Returns the events of a whole response, and its usage if it is known. Collected into a [`ChatResponse`], they give
    /// it again.
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
        // Two parts of one kind in a row would be read as one part. Tool calls have numbers, so they would not.
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
    // Sent even without a reason, because it tells readers that this choice exists.
    events.push(ChatEvent::Finish { choice: index, reason: finish.clone() });
}
