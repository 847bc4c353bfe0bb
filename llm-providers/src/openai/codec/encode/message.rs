use std::sync::Arc;

use llm_core::{
    Error, Extra, Message, Part, Role, ToolCall, ToolResult,
    chat::{Image, ImageSource},
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use super::{
    super::{Dialect, MissingFeature, ReasoningFormat},
    content::{Called, Content, form, is_custom},
    thought::{self, call_id, thoughts},
    unsupported::unsupported,
};
use crate::protocol::encode::{entries, entry, no_name_shadows, no_shadow};
use crate::protocol::{cross_vendor, is_blank_instruction};

/// Names of known fields of a message, which unknown fields must not have.
const TAKEN: [&str; 6] = ["role", "content", "name", "tool_calls", "tool_call_id", "refusal"];

/// Messages that are serialized in OpenAI's form. A tool's message becomes one message for each result in it.
pub(super) struct Messages<'a>(pub(super) &'a [Message], pub(super) &'a Dialect);

struct PlainMessage<'a>(&'a Message, &'a Dialect);
struct ToolMessage<'a>(&'a Message, &'a ToolResult, &'a Dialect);

/// Returns an error for a message that the format cannot express.
pub(super) fn check(message: &Message, at: usize, dialect: &Dialect) -> Result<(), Error> {
    let of = format!("messages[{at}].");
    no_shadow(&of, &message.extra, &TAKEN)?;
    if message.name.is_some() && dialect.is_missing(MissingFeature::Names) && !dialect.approximate {
        return Err(unsupported(dialect, format!("{of}name has no place")));
    }
    for (nth, part) in message.parts.iter().enumerate() {
        let here = format!("{of}parts[{nth}]");
        match (message.role, part) {
            (Role::Tool, Part::ToolResult(result)) => check_result(message, result, &here, dialect)?,
            (Role::Tool, _) => {
                return Err(unsupported(dialect, format!("{here}, which is no tool result, has no place")));
            }
            (Role::Assistant, Part::ToolCall(call)) => check_call(call, &here, dialect)?,
            (_, Part::Text { extra, .. }) => check_extra(extra, &here, &["type", "text"], dialect)?,
            (Role::User, Part::Image(image)) => {
                check_image(image, &here, dialect)?;
                check_extra(&image.extra, &here, &["type", "image_url"], dialect)?;
            }
            (_, Part::Other { value }) => cross_vendor::refuse_part(value, &here, "openai")?,
            (Role::Assistant, Part::Reasoning(reasoning)) => thought::check(reasoning, &here, dialect)?,
            (Role::Assistant, Part::Refusal { .. }) => {}
            (role, part) => {
                let what = format!("{here}, {} in a message of {}, has no place", kind(part), role.name());
                return Err(unsupported(dialect, what));
            }
        }
    }
    Ok(())
}

fn check_image(image: &Image, here: &str, dialect: &Dialect) -> Result<(), Error> {
    let address = matches!(&image.source, ImageSource::Url { url } if !url.starts_with("data:"));
    if dialect.is_missing(MissingFeature::Images) {
        return Err(unsupported(dialect, format!("{here}, an image, has no place")));
    }
    if address && dialect.is_missing(MissingFeature::ImageAddresses) {
        return Err(unsupported(dialect, format!("{here}, an image at an address (give its bytes), has no place")));
    }
    Ok(())
}

fn check_result(message: &Message, result: &ToolResult, here: &str, dialect: &Dialect) -> Result<(), Error> {
    check_extra(&result.extra, here, &TAKEN, dialect)?;
    if let Some((name, _)) = result.extra.iter().find(|(name, _)| message.extra.get(name).is_some()) {
        return Err(Error::invalid(format!("{here}.extra.{name} is an unknown field of its message too: set one")));
    }
    if result.is_error {
        return Err(unsupported(dialect, format!("{here}.is_error has no place (say it in the text)")));
    }
    for (at, part) in result.content.iter().enumerate() {
        let here = format!("{here}.content[{at}]");
        match part {
            Part::Text { extra, .. } => check_extra(extra, &here, &["type", "text"], dialect)?,
            other => {
                let what = kind(other);
                return Err(unsupported(dialect, format!("{here}, {what} in a tool's result, has no place")));
            }
        }
    }
    Ok(())
}

fn check_call(call: &ToolCall, here: &str, dialect: &Dialect) -> Result<(), Error> {
    let (within, input) = form(call);
    check_extra(&call.extra, here, if is_custom(call) { &["id"] } else { &["id", "type"] }, dialect)?;
    match call.extra.get(within) {
        None => Ok(()),
        Some(Value::Object(own)) => {
            no_name_shadows(&format!("{here}.extra.{within}."), own.keys().map(String::as_str), &["name", input])
        }
        Some(_) => Err(Error::invalid(format!("{here}.extra.{within} is not an object"))),
    }
}

/// Returns an error if an unknown field of a part has the name of a known one, or comes from another vendor's response.
fn check_extra(extra: &Extra, here: &str, taken: &[&str], dialect: &Dialect) -> Result<(), Error> {
    no_shadow(&format!("{here}."), extra, taken)?;
    if dialect.approximate { Ok(()) } else { cross_vendor::refuse_fields(extra, here, dialect.own_fields) }
}

fn kind(part: &Part) -> &'static str {
    match part {
        Part::Text { .. } => "text",
        Part::Image(_) => "an image",
        Part::ToolCall(_) => "a tool call",
        Part::ToolResult(_) => "a tool result",
        Part::Reasoning(_) => "reasoning",
        Part::Refusal { .. } => "a refusal",
        Part::Other { .. } => "a part without a name",
    }
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = self.0.iter().filter(|message| !is_blank_instruction(message)).flat_map(|message| {
            let results = message.parts.iter().filter_map(move |part| match part {
                Part::ToolResult(result) => Some(Encoded::Tool(ToolMessage(message, result, self.1))),
                _ => None,
            });
            let plain = (message.role != Role::Tool).then_some(Encoded::Plain(PlainMessage(message, self.1)));
            results.chain(plain)
        });
        serializer.collect_seq(written)
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Encoded<'a> {
    Plain(PlainMessage<'a>),
    Tool(ToolMessage<'a>),
}

impl Serialize for ToolMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(message, ToolResult { call_id: id, content, is_error: _, extra }, dialect) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", message.role.name())?;
        map.serialize_entry("tool_call_id", &call_id(id, dialect))?;
        map.serialize_entry("content", &Content(content.iter().collect(), dialect))?;
        entry(&mut map, "name", &name(message, dialect))?;
        entries(&mut map, &message.extra)?;
        cross_vendor::own_fields(extra, dialect.own_fields)
            .try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

impl Serialize for PlainMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(message @ Message { role, parts, name: _, extra }, dialect) = self;
        let is_content = |part: &&Part| match part {
            Part::Text { .. } | Part::Image(_) | Part::Other { .. } => true,
            Part::Reasoning(reasoning) => {
                dialect.reasoning == ReasoningFormat::Parts && thought::says(reasoning, dialect)
            }
            _ => false,
        };
        let content = Content(parts.iter().filter(is_content).collect(), dialect);
        let calls: Vec<_> = parts.iter().filter_map(|part| called(part, dialect)).collect();
        let refusal: Option<String> = parts.iter().filter_map(refusal).reduce(|all, next| all + &next);
        let mut map = serializer.serialize_map(None)?;
        let role = if *role == Role::Developer && !dialect.developer { Role::System } else { *role };
        map.serialize_entry("role", role.name())?;
        if content.0.is_empty() && (!calls.is_empty() || refusal.is_some()) {
            map.serialize_entry("content", &())?;
        } else {
            map.serialize_entry("content", &content)?;
        }
        entry(&mut map, "name", &name(message, dialect))?;
        entry(&mut map, "refusal", &refusal)?;
        if !calls.is_empty() {
            map.serialize_entry("tool_calls", &calls)?;
        }
        thoughts(&mut map, message, dialect)?;
        entries(&mut map, extra)?;
        map.end()
    }
}

/// Returns the speaker's name, if the server supports names.
fn name<'a>(message: &'a Message, dialect: &Dialect) -> Option<&'a Arc<str>> {
    message.name.as_ref().filter(|_| !dialect.is_missing(MissingFeature::Names))
}

fn called<'a>(part: &'a Part, dialect: &'a Dialect) -> Option<Called<'a>> {
    match part {
        Part::ToolCall(call) => Some(Called(call, dialect)),
        _ => None,
    }
}

fn refusal(part: &Part) -> Option<String> {
    match part {
        Part::Refusal { text } => Some(text.to_string()),
        _ => None,
    }
}
