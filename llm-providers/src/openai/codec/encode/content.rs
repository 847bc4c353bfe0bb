use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use llm_core::{Extra, Image, ImageSource, Part, ToolCall};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    entries, entry,
    thought::{Thinking, call_id},
};

/// The content of a message: one text as itself, anything else as a list of parts.
pub(super) struct Content<'a>(pub(super) Vec<&'a Part>);

/// A tool call of the conversation so far, with as many characters of its id as the server takes.
pub(super) struct Called<'a>(pub(super) &'a ToolCall, pub(super) Option<usize>);

struct Piece<'a>(&'a Part);
struct ImageUrl<'a>(&'a Image);
struct Function<'a> {
    call: &'a ToolCall,
    input: &'a str,
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => serializer.serialize_str(""),
            [Part::Text { text, extra }] if extra.is_empty() => text.serialize(serializer),
            parts => serializer.collect_seq(parts.iter().copied().map(Piece)),
        }
    }
}

impl Serialize for Piece<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Part::Text { text, extra } => piece(serializer, "text", text, extra),
            Part::Image(image) => piece(serializer, "image_url", &ImageUrl(image), &image.extra),
            Part::Other { value } => value.serialize(serializer),
            Part::Reasoning(reasoning) => Thinking(reasoning).serialize(serializer),
            // `message::check` lets nothing else come here.
            part => Err(serde::ser::Error::custom(format!("a part that is no content: {part:?}"))),
        }
    }
}

/// `{"type": kind, kind: value}` and further fields.
fn piece<S: Serializer>(serializer: S, kind: &str, value: &impl Serialize, extra: &Extra) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("type", kind)?;
    map.serialize_entry(kind, value)?;
    entries(&mut map, extra)?;
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
        let ToolCall { id, name: _, arguments: _, extra } = self.0;
        let custom = extra.get("type").is_some_and(|kind| kind == "custom");
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &call_id(id, self.1))?;
        if custom {
            map.serialize_entry("custom", &Function { call: self.0, input: "input" })?;
        } else {
            map.serialize_entry("type", "function")?;
            map.serialize_entry("function", &Function { call: self.0, input: "arguments" })?;
        }
        entries(&mut map, extra)?;
        map.end()
    }
}

impl Serialize for Function<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", &self.call.name)?;
        map.serialize_entry(self.input, &self.call.arguments)?;
        map.end()
    }
}
