use std::{borrow::Cow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Part, ToolCall};
use crate::Extra;

/// The response of a chat model. Its usage is on the reply's receipt. Cheap to clone.
///
/// ```
/// use llm_core::{ChatResponse, Choice, FinishReason, Part};
///
/// let response = ChatResponse::new("1", "m", vec![Choice::new(0, vec![Part::text("yes")], FinishReason::Stop)]);
/// assert_eq!(response.text(), "yes");
/// assert_eq!(*response.finish(), FinishReason::Stop);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChatResponse {
    /// Vendor's id of the response.
    pub id: Arc<str>,
    /// The model that answered, as the vendor names it.
    pub model: Arc<str>,
    /// Alternative responses to the request. There is one, unless the request asks for more.
    pub choices: Vec<Choice>,
    /// Unknown fields.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

/// One of the alternatives of a response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Choice {
    /// Index of the choice, from 0.
    pub index: u32,
    /// Content of the choice.
    pub parts: Vec<Part>,
    /// Reason why the choice ended.
    pub finish: FinishReason,
    /// Unknown fields of the choice.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
    /// Unknown fields of the message in the choice.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub message_extra: Extra,
}

/// Reason why a choice of a response ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The choice is complete, or reached one of the request's stop texts.
    Stop,
    /// The choice reached the largest number of output tokens.
    Length,
    /// The model asks the application to call tools.
    ToolCalls,
    /// The vendor's content filter stopped the choice.
    ContentFilter,
    /// The vendor failed, cancelled the choice, or could not use the model's output. Holds the vendor's word for the
    /// reason.
    Failed(Arc<str>),
    /// Another reason, by the vendor's word.
    Other(Arc<str>),
    /// The vendor stated no reason.
    #[default]
    Unknown,
}

impl ChatResponse {
    /// Creates a response from the vendor's id, the model's name and the choices.
    pub fn new(id: impl Into<Arc<str>>, model: impl Into<Arc<str>>, choices: Vec<Choice>) -> Self {
        Self { id: id.into(), model: model.into(), choices, extra: Extra::default() }
    }

    /// Returns the text of the first choice; empty if there is none.
    pub fn text(&self) -> Cow<'_, str> {
        self.choices.first().map_or(Cow::Borrowed(""), Choice::text)
    }

    /// Returns the tool calls of the first choice.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.choices.first().into_iter().flat_map(Choice::tool_calls)
    }

    /// Returns the reason why the first choice ended.
    pub fn finish(&self) -> &FinishReason {
        self.choices.first().map_or(&FinishReason::Unknown, |choice| &choice.finish)
    }
}

impl Choice {
    /// Creates a choice with the content `parts`.
    ///
    /// ```
    /// use llm_core::{Choice, FinishReason, Part};
    ///
    /// let choice = Choice::new(0, vec![Part::text("yes")], FinishReason::Stop);
    /// assert!(choice.is_sound());
    /// assert!(!Choice::new(0, vec![], FinishReason::Stop).is_sound());
    /// ```
    pub fn new(index: u32, parts: Vec<Part>, finish: FinishReason) -> Self {
        Self { index, parts, finish, extra: Extra::default(), message_extra: Extra::default() }
    }

    /// Returns the text of the choice, without reasoning and refusals. It is borrowed if the choice has a single part
    /// of text.
    pub fn text(&self) -> Cow<'_, str> {
        let mut texts = self.parts.iter().filter_map(|part| match part {
            Part::Text { text, .. } => Some(&**text),
            _ => None,
        });
        let first = texts.next().unwrap_or_default();
        match texts.next() {
            None => Cow::Borrowed(first),
            Some(second) => Cow::Owned([first, second].into_iter().chain(texts).collect()),
        }
    }

    /// Returns the reasoning that the vendor shows; empty if there is none.
    pub fn reasoning(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Reasoning(reasoning) => Some(&*reasoning.text),
            _ => None,
        });
        texts.collect()
    }

    /// Returns the text of the refusal, if the model refused.
    pub fn refusal(&self) -> Option<&str> {
        self.parts.iter().find_map(|part| match part {
            Part::Refusal { text } => Some(&**text),
            _ => None,
        })
    }

    /// Returns `true` if the choice is usable: it has a [complete](FinishReason::is_complete) end and content other
    /// than reasoning, it is no refusal, and every tool call has a name and readable arguments.
    pub fn is_sound(&self) -> bool {
        let mut calls = self.tool_calls().peekable();
        let has_promised_calls = self.finish != FinishReason::ToolCalls || calls.peek().is_some();
        self.finish.is_complete()
            && has_promised_calls
            && calls.all(ToolCall::is_readable)
            && self.parts.iter().any(Part::is_content)
            && self.refusal().is_none()
    }

    /// Returns `true` if the other choice has the same text, tool calls and end. Reasoning and the ids of tool calls
    /// are not compared.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let calls = |choice: &Self| -> Vec<_> {
            let arguments = |call: &ToolCall| match call.parse::<serde_json::Value>() {
                Ok(value) => value,
                Err(_) => serde_json::Value::from(&*call.arguments),
            };
            choice.tool_calls().map(|call| (call.name.clone(), arguments(call))).collect()
        };
        self.finish == other.finish
            && self.text() == other.text()
            && self.refusal() == other.refusal()
            && calls(self) == calls(other)
    }

    /// Returns the tool calls of the choice.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.parts.iter().filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
    }
}

impl FinishReason {
    /// Returns `true` for the end of a complete response: [`Stop`](Self::Stop) or [`ToolCalls`](Self::ToolCalls).
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Stop | Self::ToolCalls)
    }

    /// Replaces the reason by a later one of the same choice. [`Unknown`](Self::Unknown) replaces nothing, and
    /// [`Stop`](Self::Stop) does not replace [`ToolCalls`](Self::ToolCalls): some servers send it after every response.
    ///
    /// ```
    /// use llm_core::FinishReason::{Length, Stop, ToolCalls, Unknown};
    ///
    /// let mut reason = Unknown;
    /// reason.update(&Stop);
    /// reason.update(&Length);
    /// assert_eq!(reason, Length);
    /// reason.update(&ToolCalls);
    /// reason.update(&Stop);
    /// assert_eq!(reason, ToolCalls);
    /// ```
    pub fn update(&mut self, later: &Self) {
        if !matches!((&*self, later), (_, Self::Unknown) | (Self::ToolCalls, Self::Stop)) {
            self.clone_from(later);
        }
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Failed(reason) | Self::Other(reason) => reason,
            Self::Unknown => "unknown",
        })
    }
}
