use std::borrow::Cow;

use llm_core::{
    ChatRequest, Error,
    chat::{JsonSchema, ResponseFormat},
};
use serde_json::{Map, Value, json};

use super::{super::Options, unsupported::unsupported};

/// Settings of the model's thinking and of the form of its response.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub(super) thinking: Option<Cow<'a, Value>>,
    pub(super) output_config: Option<Cow<'a, Value>>,
}

/// Prefixes of the names of models that have no levels of reasoning effort.
const WITHOUT_EFFORT: [&str; 10] = [
    "claude-2",
    "claude-3",
    "claude-instant",
    "claude-haiku-4",
    "claude-opus-4-0",
    "claude-opus-4-1",
    "claude-opus-4-2",
    "claude-sonnet-4-0",
    "claude-sonnet-4-2",
    "claude-sonnet-4-5",
];

impl<'a> Plan<'a> {
    pub(super) fn of(request: &'a ChatRequest, options: Options) -> Result<Self, Error> {
        let mut plan = Self {
            thinking: request.extra.get("thinking").map(Cow::Borrowed),
            output_config: request.extra.get("output_config").map(Cow::Borrowed),
        };
        plan.effort(request, options)?;
        if let Some(format) = &request.response_format {
            plan.format(format, options)?;
        }
        Ok(plan)
    }

    fn effort(&mut self, request: &ChatRequest, options: Options) -> Result<(), Error> {
        let Some(effort) = request.reasoning_effort.as_deref() else { return Ok(()) };
        if effort == "none" {
            if self.thinking.is_some() {
                return Err(Error::invalid("extra.thinking and reasoning_effort say two things: set one of them"));
            }
            self.thinking = Some(Cow::Owned(json!({"type": "disabled"})));
            return Ok(());
        }
        if WITHOUT_EFFORT.iter().any(|beginning| request.model.starts_with(beginning)) {
            if options.approximate {
                return Ok(());
            }
            let model = &request.model;
            return Err(unsupported(format!(
                "reasoning_effort for {model}, which thinks by a budget (set extra.thinking), has no place"
            )));
        }
        match effort {
            "minimal" if options.approximate => self.configure("effort", "reasoning_effort", json!("low")),
            "minimal" => Err(unsupported("reasoning_effort `minimal` (the least is `low`) has no place")),
            effort => self.configure("effort", "reasoning_effort", json!(effort)),
        }
    }

    fn format(&mut self, format: &ResponseFormat, options: Options) -> Result<(), Error> {
        match format {
            ResponseFormat::Text => Ok(()),
            ResponseFormat::JsonObject => {
                Err(unsupported("response_format of JSON without a schema (give one) has no place"))
            }
            ResponseFormat::JsonSchema(JsonSchema { name: _, description, schema, strict: _ }) => {
                if description.is_some() && !options.approximate {
                    return Err(unsupported("response_format.description (say it in the schema) has no place"));
                }
                self.configure("format", "response_format", json!({"type": "json_schema", "schema": schema}))
            }
        }
    }

    /// Adds a value to the object `output_config`, which may be among the request's unknown fields too.
    fn configure(&mut self, name: &str, field: &str, value: Value) -> Result<(), Error> {
        let config = self.output_config.get_or_insert_with(|| Cow::Owned(Value::Object(Map::new()))).to_mut();
        let Value::Object(config) = config else {
            return Err(Error::invalid("extra.output_config is no object"));
        };
        match config.insert(name.to_owned(), value) {
            None => Ok(()),
            Some(_) => {
                Err(Error::invalid(format!("extra.output_config.{name} shadows a field of the request: set {field}")))
            }
        }
    }
}
