use std::borrow::Cow;

use llm_core::{Error, Extra, Part, ToolCall, ToolResult, chat::Reasoning};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, value::RawValue};

use super::{
    super::Options,
    fields::{OWN, check_fields, entries},
    image,
    unsupported::unsupported,
};
use crate::protocol::encode::entry;
use crate::protocol::{arguments, call_id, cross_vendor};

/// Part of a message that is serialized in Anthropic's form.
pub(super) struct Block<'a> {
    part: &'a Part,
    /// Value of the message's `cache_control`, which is sent with the message's last block.
    mark: Option<&'a Value>,
}

struct Content<'a>(&'a [Part]);

impl<'a> Block<'a> {
    /// Checks a part and returns its block; `None` if the part is not sent. Errors name the part by its path `here`.
    pub(super) fn of(part: &'a Part, here: &str, options: Options) -> Result<Option<Self>, Error> {
        match part {
            Part::Text { extra, .. } => check_fields(extra, here, &["type", "text"], options)?,
            Part::Image(image) => image::check(image, here, options)?,
            Part::ToolCall(call) => {
                check_fields(&call.extra, here, &["type", "id", "name", "input"], options)?;
                input(call).map_err(|why| Error::invalid(format!("{here}.arguments {why}")))?;
            }
            Part::ToolResult(result) => check_result(result, here, options)?,
            Part::Reasoning(reasoning) => return Self::of_reasoning(part, reasoning, here, options),
            Part::Refusal { .. } => {}
            Part::Other { value } => cross_vendor::refuse_part(value, here, "anthropic")?,
        }
        Ok(Some(Self { part, mark: None }))
    }

    fn of_reasoning(
        part: &'a Part,
        reasoning: &Reasoning,
        here: &str,
        options: Options,
    ) -> Result<Option<Self>, Error> {
        let Reasoning { text: _, signature, extra } = reasoning;
        if let Err(error) = cross_vendor::refuse_signature(reasoning, here, &OWN) {
            return if options.approximate { Ok(None) } else { Err(error) };
        }
        match signature {
            Some(_) if is_redacted(extra) => check_fields(extra, here, &["data"], options)?,
            Some(_) => check_fields(extra, here, &["type", "thinking", "signature"], options)?,
            None if options.approximate => return Ok(None),
            None => {
                return Err(unsupported(format!(
                    "{here}, reasoning without a signature (another vendor's), has no place"
                )));
            }
        }
        Ok(Some(Self { part, mark: None }))
    }

    /// Adds the message's `cache_control`. Returns `false` if the block already has one or cannot have one.
    pub(super) fn mark(&mut self, mark: &'a Value) -> bool {
        let own = match self.part {
            Part::Text { extra, .. } => extra.get("cache_control").is_some(),
            Part::Image(image) => image.extra.get("cache_control").is_some(),
            Part::ToolCall(call) => call.extra.get("cache_control").is_some(),
            Part::ToolResult(result) => result.extra.get("cache_control").is_some(),
            Part::Refusal { .. } => false,
            Part::Other { value } => value.as_object().is_none_or(|fields| fields.contains_key("cache_control")),
            Part::Reasoning(_) => true,
        };
        self.mark = (!own).then_some(mark);
        !own
    }

    /// Returns the text of the part, if the part has no other fields and no `cache_control`.
    pub(super) fn plain(&self) -> Option<&'a str> {
        match self {
            Self { part, mark: None } => plain(part),
            _ => None,
        }
    }

    /// Returns `true` if the block is an empty text without other fields.
    pub(super) fn is_empty(&self) -> bool {
        self.plain() == Some("")
    }
}

/// Returns a few words that name the kind of a part.
pub(super) fn kind(part: &Part) -> &'static str {
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

impl Serialize for Block<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.part {
            Part::Text { text, extra } => {
                map.serialize_entry("type", "text")?;
                map.serialize_entry("text", text)?;
                entries(&mut map, extra)?;
            }
            Part::Refusal { text } => {
                map.serialize_entry("type", "text")?;
                map.serialize_entry("text", text)?;
            }
            Part::Image(image) => {
                map.serialize_entry("type", "image")?;
                map.serialize_entry("source", &image::Source(&image.source))?;
                entries(&mut map, &image.extra)?;
            }
            Part::ToolCall(call) => {
                map.serialize_entry("type", "tool_use")?;
                map.serialize_entry("id", &sent(&call.id))?;
                map.serialize_entry("name", &call.name)?;
                map.serialize_entry("input", input(call).map_err(serde::ser::Error::custom)?)?;
                entries(&mut map, &call.extra)?;
            }
            Part::ToolResult(ToolResult { call_id, content, is_error, extra }) => {
                map.serialize_entry("type", "tool_result")?;
                map.serialize_entry("tool_use_id", &sent(call_id))?;
                if !content.is_empty() {
                    map.serialize_entry("content", &Content(content))?;
                }
                entry(&mut map, "is_error", &is_error.then_some(true))?;
                entries(&mut map, extra)?;
            }
            Part::Reasoning(reasoning) => write_reasoning(reasoning, &mut map)?,
            Part::Other { value } => match &**value {
                Value::Object(fields) => fields.iter().try_for_each(|(k, v)| map.serialize_entry(k, v))?,
                // A block must be an object. A value of another JSON type is sent unchanged, and the vendor refuses it.
                value => map.serialize_entry("value", value)?,
            },
        }
        entry(&mut map, "cache_control", &self.mark)?;
        map.end()
    }
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [part] if plain(part).is_some() => plain(part).serialize(serializer),
            parts => serializer.collect_seq(parts.iter().map(|part| Block { part, mark: None })),
        }
    }
}

fn write_reasoning<M: SerializeMap>(reasoning: &Reasoning, map: &mut M) -> Result<(), M::Error> {
    let Reasoning { text, signature, extra } = reasoning;
    if is_redacted(extra) {
        // The block's `type` is among its unknown fields.
        map.serialize_entry("data", signature)?;
    } else {
        map.serialize_entry("type", "thinking")?;
        map.serialize_entry("thinking", text)?;
        map.serialize_entry("signature", signature)?;
    }
    entries(map, extra)
}

fn is_redacted(extra: &Extra) -> bool {
    extra.get("type").is_some_and(|kind| kind == "redacted_thinking")
}

fn plain(part: &Part) -> Option<&str> {
    match part {
        Part::Text { text, extra } if extra.is_empty() => Some(text),
        Part::Refusal { text } => Some(text),
        _ => None,
    }
}

/// Returns the arguments of a tool call exactly as they were written, with all digits and with the keys in the same
/// order.
fn input(call: &ToolCall) -> Result<&RawValue, &'static str> {
    match serde_json::from_str::<&RawValue>(arguments(call)) {
        Ok(json) if json.get().starts_with('{') => Ok(json),
        _ => Err("are no JSON object"),
    }
}

/// Returns the id of a tool call in the form that the vendor accepts.
fn sent(id: &str) -> Cow<'_, str> {
    let fits = |id: &str| !id.is_empty() && id.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
    call_id(id, 24, fits)
}

fn check_result(result: &ToolResult, here: &str, options: Options) -> Result<(), Error> {
    check_fields(&result.extra, here, &["type", "tool_use_id", "content", "is_error"], options)?;
    for (at, part) in result.content.iter().enumerate() {
        let here = format!("{here}.content[{at}]");
        match part {
            Part::Text { .. } | Part::Image(_) | Part::Other { .. } => {
                Block::of(part, &here, options)?;
            }
            part => return Err(unsupported(format!("{here}, {} in a tool's result, has no place", kind(part)))),
        }
    }
    Ok(())
}
