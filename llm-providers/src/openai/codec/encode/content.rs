use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use llm_core::{
    Extra, Part, ToolCall,
    chat::{Image, ImageSource},
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use super::{
    super::Dialect,
    thought::{Thinking, call_id},
};
use crate::protocol::encode::entry;
use crate::protocol::{arguments, cross_vendor::own_fields};

/// Content of a message: a single text is sent as a string, anything else as a list of parts.
pub(super) struct Content<'a>(pub(super) Vec<&'a Part>, pub(super) &'a Dialect);

/// Tool call of the conversation so far, serialized in OpenAI's form.
pub(super) struct Called<'a>(pub(super) &'a ToolCall, pub(super) &'a Dialect);

struct Piece<'a>(&'a Part, &'a Dialect);
struct ImageUrl<'a>(&'a Image);
struct Function<'a> {
    call: &'a ToolCall,
    within: &'a str,
    input: &'a str,
}

/// Returns the name of the object that holds a tool call's name and input, and the name of the input's field in that
/// object.
pub(super) fn form(call: &ToolCall) -> (&'static str, &'static str) {
    if is_custom(call) { ("custom", "input") } else { ("function", "arguments") }
}

/// Returns `true` for a call of a custom tool, whose input is free text.
pub(super) fn is_custom(call: &ToolCall) -> bool {
    call.extra.get("type").is_some_and(|kind| kind == "custom")
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => serializer.serialize_str(""),
            [Part::Text { text, extra }] if own_fields(extra, self.1.own_fields).next().is_none() => {
                text.serialize(serializer)
            }
            parts => serializer.collect_seq(parts.iter().map(|part| Piece(part, self.1))),
        }
    }
}

impl Serialize for Piece<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Part::Text { text, extra } => piece(serializer, "text", text, extra, self.1),
            Part::Image(image) => piece(serializer, "image_url", &ImageUrl(image), &image.extra, self.1),
            Part::Other { value } => value.serialize(serializer),
            Part::Reasoning(reasoning) => Thinking(reasoning).serialize(serializer),
            // `message::check` has refused all other parts before.
            part => Err(serde::ser::Error::custom(format!("a part that is no content: {part:?}"))),
        }
    }
}

/// Writes `{"type": kind, kind: value}` with the unknown fields.
fn piece<S: Serializer>(
    serializer: S,
    kind: &str,
    value: &impl Serialize,
    extra: &Extra,
    dialect: &Dialect,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("type", kind)?;
    map.serialize_entry(kind, value)?;
    own_fields(extra, dialect.own_fields).try_for_each(|(name, value)| map.serialize_entry(name, value))?;
    map.end()
}

impl Serialize for ImageUrl<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Image { source, detail, extra: _ } = self.0;
        let mut map = serializer.serialize_map(None)?;
        match source {
            ImageSource::Url { url } => map.serialize_entry("url", url)?,
            ImageSource::Bytes { media_type, data } => {
                map.serialize_entry(
                    "url",
                    &format!("data:{media_type};base64,{}", Base64Display::new(data, &STANDARD)),
                )?;
            }
        }
        entry(&mut map, "detail", detail)?;
        map.end()
    }
}

impl Serialize for Called<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(call, dialect) = self;
        let (within, input) = form(call);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &call_id(&call.id, dialect))?;
        if !is_custom(call) {
            map.serialize_entry("type", "function")?;
        }
        map.serialize_entry(within, &Function { call, within, input })?;
        let fields = own_fields(&call.extra, dialect.own_fields).filter(|(name, _)| *name != within);
        fields.into_iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

impl Serialize for Function<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { call, within, input } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &call.name)?;
        map.serialize_entry(input, if is_custom(call) { &*call.arguments } else { arguments(call) })?;
        // Unknown fields of this object, which the vendor's response had, are sent too.
        let fields = call.extra.get(within).and_then(Value::as_object).into_iter().flatten();
        fields.into_iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}
