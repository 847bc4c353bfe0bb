use llm_core::{
    Error, Tool,
    chat::{FunctionTool, JsonSchema, ResponseFormat, ToolChoice},
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::protocol::encode::{entry, no_shadow};

/// Unknown field of a function that is sent beside the object `function`, not inside it.
const BESIDE: &str = "cache_control";

/// Tool that is serialized in OpenAI's form.
pub(super) struct EncodedTool<'a>(pub(super) &'a Tool);
/// Tool choice that is serialized in OpenAI's form, with the server's word for "at least one tool".
pub(super) struct EncodedChoice<'a>(pub(super) &'a ToolChoice, pub(super) &'a str);
/// Format of the response that is serialized in OpenAI's form.
pub(super) struct EncodedFormat<'a>(pub(super) &'a ResponseFormat);

struct Function<'a>(&'a FunctionTool);
struct Schema<'a>(&'a JsonSchema);

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

impl EncodedTool<'_> {
    pub(super) fn check(&self, at: usize) -> Result<(), Error> {
        match self.0 {
            Tool::Function(function) => {
                no_shadow(&format!("tools[{at}]."), &function.extra, &["name", "description", "parameters", "strict"])
            }
            Tool::Other(_) => Ok(()),
        }
    }
}

impl Serialize for EncodedTool<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Tool::Function(function) => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("type", "function")?;
                map.serialize_entry("function", &Function(function))?;
                entry(&mut map, BESIDE, &function.extra.get(BESIDE))?;
                map.end()
            }
            Tool::Other(value) => value.serialize(serializer),
        }
    }
}

impl Serialize for Function<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let FunctionTool { name, description, parameters, strict, extra } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", name)?;
        entry(&mut map, "description", description)?;
        entry(&mut map, "parameters", parameters)?;
        entry(&mut map, "strict", strict)?;
        extra
            .iter()
            .filter(|(name, _)| *name != BESIDE)
            .try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

impl Serialize for EncodedChoice<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            ToolChoice::Auto => serializer.serialize_str("auto"),
            ToolChoice::None => serializer.serialize_str("none"),
            ToolChoice::Required => serializer.serialize_str(self.1),
            ToolChoice::Function(name) => tagged(serializer, "function", "function", &Name { name }),
            ToolChoice::Other(value) => value.serialize(serializer),
        }
    }
}

impl Serialize for EncodedFormat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let simple = |serializer: S, kind| {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry("type", kind)?;
            map.end()
        };
        match self.0 {
            ResponseFormat::Text => simple(serializer, "text"),
            ResponseFormat::JsonObject => simple(serializer, "json_object"),
            ResponseFormat::JsonSchema(schema) => tagged(serializer, "json_schema", "json_schema", &Schema(schema)),
        }
    }
}

impl Serialize for Schema<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let JsonSchema { name, description, schema, strict } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", name)?;
        entry(&mut map, "description", description)?;
        map.serialize_entry("schema", schema)?;
        entry(&mut map, "strict", strict)?;
        map.end()
    }
}

/// Writes `{"type": kind, field: value}`.
pub(super) fn tagged<S: Serializer>(
    serializer: S,
    kind: &str,
    field: &str,
    value: &impl Serialize,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry("type", kind)?;
    map.serialize_entry(field, value)?;
    map.end()
}
