//! Encoding of reasoning and of ids of tool calls, which depends on the server.

use std::borrow::Cow;

use llm_core::{Error, Message, Part, chat::Reasoning};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use super::{
    super::{Dialect, ReasoningFormat},
    unsupported::unsupported,
};
use crate::protocol::cross_vendor;

const DETAILS: &str = "reasoning_details";

/// Reasoning as a part of a message's content.
pub(super) struct Thinking<'a>(pub(super) &'a Reasoning);

#[derive(Serialize)]
struct Text<'a> {
    r#type: &'static str,
    text: &'a str,
}

impl Serialize for Thinking<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", "thinking")?;
        map.serialize_entry("thinking", &[Text { r#type: "text", text: &self.0.text }])?;
        map.end()
    }
}

/// Returns an error for reasoning that the server's format has no field for, or that another vendor signed.
pub(super) fn check(reasoning: &Reasoning, here: &str, dialect: &Dialect) -> Result<(), Error> {
    let Reasoning { text, signature: _, extra } = reasoning;
    if dialect.approximate {
        return Ok(());
    }
    cross_vendor::refuse_signature(reasoning, here, dialect.own_fields)?;
    if let Some((name, _)) = extra.iter().find(|(name, _)| *name != DETAILS) {
        return Err(unsupported(dialect, format!("{here}.extra.{name}, a field of reasoning, has no place")));
    }
    if dialect.reasoning == ReasoningFormat::Refused && !text.is_empty() {
        return Err(unsupported(dialect, format!("{here}, reasoning, has no place (leave it out, or approximate)")));
    }
    Ok(())
}

/// Returns `true` if the reasoning has a text, and no other vendor signed it.
pub(super) fn says(reasoning: &Reasoning, dialect: &Dialect) -> bool {
    !reasoning.text.is_empty() && is_own(reasoning, dialect)
}

/// Writes the reasoning of a message, unless the message has the field for it among its unknown fields already.
pub(super) fn thoughts<M: SerializeMap>(map: &mut M, message: &Message, dialect: &Dialect) -> Result<(), M::Error> {
    let Message { parts, extra, .. } = message;
    let reasonings = |parts| reasonings(parts, dialect);
    let texts = || -> String { reasonings(parts).map(|reasoning| &*reasoning.text).collect() };
    match dialect.reasoning {
        ReasoningFormat::Refused | ReasoningFormat::Parts => Ok(()),
        ReasoningFormat::WithCalls => {
            let calls = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
            if !calls || reasonings(parts).next().is_none() || extra.get("reasoning_content").is_some() {
                return Ok(());
            }
            map.serialize_entry("reasoning_content", &texts())
        }
        ReasoningFormat::Details => {
            let details: Vec<&Value> =
                reasonings(parts).filter_map(|reasoning| reasoning.extra.get(DETAILS)?.as_array()).flatten().collect();
            let text = texts();
            if !text.is_empty() && extra.get("reasoning").is_none() {
                map.serialize_entry("reasoning", &text)?;
            }
            if !details.is_empty() && extra.get(DETAILS).is_none() {
                map.serialize_entry(DETAILS, &details)?;
            }
            Ok(())
        }
    }
}

fn reasonings<'a>(parts: &'a [Part], dialect: &'a Dialect) -> impl Iterator<Item = &'a Reasoning> {
    parts.iter().filter_map(|part| match part {
        Part::Reasoning(reasoning) => Some(reasoning).filter(|reasoning| is_own(reasoning, dialect)),
        _ => None,
    })
}

fn is_own(reasoning: &Reasoning, dialect: &Dialect) -> bool {
    cross_vendor::signature_field(reasoning).is_none_or(|mark| dialect.own_fields.contains(&mark))
}

/// Returns the id of a tool call in the form that the server accepts.
pub(super) fn call_id<'i>(id: &'i str, dialect: &Dialect) -> Cow<'i, str> {
    match dialect.call_id_len {
        Some(len) => crate::protocol::call_id(id, len, |id| {
            id.len() == len && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
        }),
        None => Cow::Borrowed(id),
    }
}
