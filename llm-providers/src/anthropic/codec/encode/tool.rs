use std::sync::LazyLock;

use llm_core::{
    Error, Tool,
    chat::{FunctionTool, ToolChoice},
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use crate::protocol::encode::{entries, entry, no_shadow};

/// Tool that is serialized in Anthropic's form.
pub(super) struct EncodedTool<'a>(pub(super) &'a Tool);

/// Tool choice that is serialized in Anthropic's form.
pub(super) struct EncodedChoice<'a> {
    choice: &'a ToolChoice,
    /// True if at most one tool call is allowed at a time.
    single: bool,
}

/// Schema that is sent for a function without parameters, because the vendor requires a schema.
static NOTHING: LazyLock<Value> = LazyLock::new(|| json!({"type": "object", "properties": {}}));

pub(super) fn check(tool: &Tool, at: usize) -> Result<(), Error> {
    match tool {
        Tool::Function(function) => {
            no_shadow(&format!("tools[{at}]."), &function.extra, &["name", "description", "input_schema", "strict"])
        }
        Tool::Other(_) => Ok(()),
    }
}

impl<'a> EncodedChoice<'a> {
    pub(super) fn of(choice: Option<&'a ToolChoice>, single: bool) -> Option<Self> {
        match choice {
            Some(choice) => Some(Self { choice, single }),
            None => single.then_some(Self { choice: &ToolChoice::Auto, single }),
        }
    }
}

impl Serialize for EncodedTool<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let FunctionTool { name, description, parameters, strict, extra } = match self.0 {
            Tool::Function(function) => function,
            Tool::Other(value) => return value.serialize(serializer),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", name)?;
        entry(&mut map, "description", description)?;
        map.serialize_entry("input_schema", parameters.as_deref().unwrap_or(&NOTHING))?;
        entry(&mut map, "strict", strict)?;
        entries(&mut map, extra)?;
        map.end()
    }
}

impl Serialize for EncodedChoice<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const SINGLE: &str = "disable_parallel_tool_use";
        let (kind, name) = match self.choice {
            ToolChoice::Auto => ("auto", None),
            ToolChoice::None => ("none", None),
            ToolChoice::Required => ("any", None),
            ToolChoice::Function(name) => ("tool", Some(name)),
            ToolChoice::Other(value) => match &**value {
                Value::Object(fields) if self.single && !fields.contains_key(SINGLE) => {
                    let mut map = serializer.serialize_map(None)?;
                    fields.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                    map.serialize_entry(SINGLE, &true)?;
                    return map.end();
                }
                value => return value.serialize(serializer),
            },
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", kind)?;
        entry(&mut map, "name", &name)?;
        // If no tool may be called, the vendor refuses `disable_parallel_tool_use`, because the option has no meaning.
        if self.single && kind != "none" {
            map.serialize_entry(SINGLE, &true)?;
        }
        map.end()
    }
}
