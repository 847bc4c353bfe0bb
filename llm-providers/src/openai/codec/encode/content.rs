use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use llm_core::{Image, ImageSource, Part, ToolCall};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{entries, entry, tool::tagged};

/// The content of a message: one text as itself, anything else as a list of parts.
pub(super) struct Content<'a>(pub(super) Vec<&'a Part>);

/// A tool call of the conversation so far.
pub(super) struct Called<'a>(pub(super) &'a ToolCall);

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
            [Part::Text { text }] => text.serialize(serializer),
            parts => serializer.collect_seq(parts.iter().copied().map(Piece)),
        }
    }
}

impl Serialize for Piece<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Part::Text { text } => tagged(serializer, "text", "text", text),
            Part::Image(image) => tagged(serializer, "image_url", "image_url", &ImageUrl(image)),
            Part::Other { value } => value.serialize(serializer),
            // `message::check` lets nothing else come here.
            part => Err(serde::ser::Error::custom(format!("a part that is no content: {part:?}"))),
        }
    }
}

impl Serialize for ImageUrl<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Image { source, detail } = self.0;
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
        map.serialize_entry("id", id)?;
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
