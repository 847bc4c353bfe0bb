use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Choice, Part, ToolResult};
use crate::{Extra, extra::counts, fingerprint::Fingerprinter};

/// One message of a conversation.
///
/// ```
/// use llm_core::{Message, Part, Role};
///
/// let message = Message::new(Role::User, vec![Part::text("Rate this photo."), Part::image("image/png", &b"..."[..])]);
/// assert_eq!(message.role.name(), "user");
/// assert_eq!(Message::user("hello").parts, [Part::text("hello")]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Role of the speaker.
    pub role: Role,
    /// Content of the message. A [`Role::Tool`] message holds one [`Part::ToolResult`].
    pub parts: Vec<Part>,
    /// Name of the speaker, for vendors that support it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// Unknown fields, sent as they are.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

/// Role of a message's speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The application's instructions.
    System,
    /// The application's instructions, under the name that OpenAI's newer models use.
    Developer,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// A tool, which returns a result.
    Tool,
}

impl Message {
    /// Creates a message with the speaker's role and the content.
    pub fn new(role: Role, parts: Vec<Part>) -> Self {
        Self { role, parts, name: None, extra: Extra::default() }
    }

    /// Creates a message with the application's instructions ([`Role::System`]).
    pub fn system(text: impl Into<Arc<str>>) -> Self {
        Self::new(Role::System, vec![Part::text(text)])
    }

    /// Creates a message of the user with one part of text.
    pub fn user(text: impl Into<Arc<str>>) -> Self {
        Self::new(Role::User, vec![Part::text(text)])
    }

    /// Creates a message of the model with one part of text.
    pub fn assistant(text: impl Into<Arc<str>>) -> Self {
        Self::new(Role::Assistant, vec![Part::text(text)])
    }

    /// Creates a message with the result of the tool call whose id is `call_id`.
    pub fn tool(call_id: impl Into<Arc<str>>, response: impl Into<Arc<str>>) -> Self {
        let content = vec![Part::text(response)];
        let result = ToolResult { call_id: call_id.into(), content, is_error: false, extra: Extra::default() };
        Self::new(Role::Tool, vec![Part::ToolResult(result)])
    }

    /// Returns the number of bytes of the message's text, for token estimates, and the number of parts that are not
    /// text.
    pub(super) fn text_bytes(&self) -> (u64, u64) {
        let Self { role: _, parts, name, extra } = self;
        let own = name.as_deref().map_or(0, str::len) as u64 + extra.json_bytes();
        parts.iter().fold((own, 0), |(bytes, others), part| match part.text_bytes() {
            Some(text) => (bytes + text, others),
            None => (bytes, others + 1),
        })
    }

    pub(super) fn fingerprint<'h>(&self, h: &'h mut Fingerprinter) -> &'h mut Fingerprinter {
        let Self { role, parts, name, extra } = self;
        h.variant(role.name());
        h.list(parts, |h, part| part.fingerprint(h));
        h.option(name.as_deref(), |h, name| h.text(name));
        extra.fingerprint(h, counts)
    }
}

impl Role {
    /// Returns the role as a lower-case word, such as `user`.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

impl From<Choice> for Message {
    /// Converts a choice of the model's response into a message, to be appended to the conversation.
    fn from(choice: Choice) -> Self {
        Self::new(Role::Assistant, choice.parts)
    }
}
