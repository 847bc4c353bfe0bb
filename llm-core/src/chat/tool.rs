use std::sync::Arc;

use serde_json::Value;

use crate::{
    Extra,
    extra::{counts, json_bytes},
    fingerprint::Fingerprinter,
};

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq)]
pub enum Tool {
    /// A function of the application.
    Function(FunctionTool),
    /// A tool that this library does not know (a vendor's own search, a custom grammar), as the vendor writes it.
    Other(Arc<Value>),
}

/// A function of the application.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FunctionTool {
    /// Name of the function, which the model reads.
    pub name: Arc<str>,
    /// A description for the model.
    pub description: Option<Arc<str>>,
    /// JSON schema of the parameters.
    pub parameters: Option<Arc<Value>>,
    /// True if the arguments must follow the schema exactly; `None` for the vendor's default.
    pub strict: Option<bool>,
    /// Unknown fields, sent as they are.
    pub extra: Extra,
}

/// Rule for the use of tools: which of them a model must call, if any.
///
/// ```
/// use llm_core::{ChatRequest, Tool, chat::ToolChoice};
/// use serde_json::json;
///
/// let request = ChatRequest::new("m")
///     .user("Is it raining in Paris?")
///     .tool(Tool::function("weather", "The weather of a city.", json!({"type": "object"})))
///     .tool_choice(ToolChoice::Function("weather".into()));
/// assert!(request.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice {
    /// The model decides if it calls tools.
    Auto,
    /// The model must not call tools.
    None,
    /// The model must call at least one tool.
    Required,
    /// The model must call the function of this name.
    Function(Arc<str>),
    /// A rule that this library does not know, as the vendor writes it.
    Other(Arc<Value>),
}

/// Form that a response must have.
///
/// ```
/// use std::sync::Arc;
/// use llm_core::{ChatRequest, chat::{JsonSchema, ResponseFormat}};
/// use serde_json::json;
///
/// let schema = Arc::new(json!({"type": "object", "required": ["stars"]}));
/// let format = JsonSchema { name: "score".into(), description: None, schema, strict: Some(true) };
/// let request = ChatRequest::new("m").user("Score it.").response_format(ResponseFormat::JsonSchema(format));
/// assert!(request.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum ResponseFormat {
    /// Text.
    Text,
    /// JSON of any structure.
    JsonObject,
    /// JSON that follows a schema.
    JsonSchema(JsonSchema),
}

/// A schema that a response must follow.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonSchema {
    /// Name of the schema, which the model reads.
    pub name: Arc<str>,
    /// Description of the response, for the model.
    pub description: Option<Arc<str>>,
    /// The JSON schema.
    pub schema: Arc<Value>,
    /// True if the response must follow the schema exactly; `None` for the vendor's default.
    pub strict: Option<bool>,
}

impl Tool {
    /// Creates a tool from a function's name, its description and a JSON schema of its parameters.
    ///
    /// ```
    /// use llm_core::Tool;
    /// use serde_json::json;
    ///
    /// let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    /// assert!(matches!(Tool::function("weather", "The weather of a city.", schema), Tool::Function(_)));
    /// ```
    pub fn function(name: impl Into<Arc<str>>, description: impl Into<Arc<str>>, parameters: Value) -> Self {
        Self::Function(FunctionTool {
            name: name.into(),
            description: Some(description.into()),
            parameters: Some(Arc::new(parameters)),
            ..FunctionTool::default()
        })
    }

    /// Returns the number of bytes that a vendor reads of this definition, for token estimates.
    pub(super) fn text_bytes(&self) -> u64 {
        match self {
            Self::Other(value) => json_bytes(value) as u64,
            Self::Function(FunctionTool { name, description, parameters, strict: _, extra }) => {
                let described = description.as_deref().map_or(0, str::len);
                let schema = parameters.as_deref().map_or(0, json_bytes);
                (name.len() + described + schema) as u64 + extra.json_bytes()
            }
        }
    }

    pub(super) fn fingerprint<'h>(&self, h: &'h mut Fingerprinter) -> &'h mut Fingerprinter {
        match self {
            Self::Other(value) => h.variant("other").json(value),
            Self::Function(FunctionTool { name, description, parameters, strict, extra }) => {
                h.variant("function").text(name);
                h.option(description.as_deref(), |h, text| h.text(text));
                h.option(parameters.as_deref(), |h, schema| h.json(schema));
                h.option(*strict, |h, strict| h.boolean(strict));
                extra.fingerprint(h, counts)
            }
        }
    }
}

impl ToolChoice {
    pub(super) fn fingerprint<'h>(&self, h: &'h mut Fingerprinter) -> &'h mut Fingerprinter {
        match self {
            Self::Auto => h.variant("auto"),
            Self::None => h.variant("none"),
            Self::Required => h.variant("required"),
            Self::Function(name) => h.variant("function").text(name),
            Self::Other(value) => h.variant("other").json(value),
        }
    }
}

impl ResponseFormat {
    /// Creates the response form for JSON that follows `schema` exactly. `name` is the name of the schema.
    pub fn json_schema(name: impl Into<Arc<str>>, schema: Value) -> Self {
        Self::JsonSchema(JsonSchema {
            name: name.into(),
            description: None,
            schema: Arc::new(schema),
            strict: Some(true),
        })
    }

    /// Returns `true` if a text has this form, as far as [`schema::conforms`](super::schema::conforms) checks it.
    pub(super) fn conforms(&self, text: &str) -> bool {
        match self {
            Self::Text => true,
            Self::JsonObject => serde_json::from_str(text).is_ok_and(|value: Value| value.is_object()),
            Self::JsonSchema(JsonSchema { schema, .. }) => {
                serde_json::from_str(text).is_ok_and(|value| super::schema::conforms(schema, &value))
            }
        }
    }

    /// Returns the number of bytes that a vendor reads of this definition, for token estimates.
    pub(super) fn text_bytes(&self) -> u64 {
        match self {
            Self::Text | Self::JsonObject => 0,
            Self::JsonSchema(JsonSchema { name, description, schema, strict: _ }) => {
                (name.len() + description.as_deref().map_or(0, str::len) + json_bytes(schema)) as u64
            }
        }
    }

    pub(super) fn fingerprint<'h>(&self, h: &'h mut Fingerprinter) -> &'h mut Fingerprinter {
        match self {
            Self::Text => h.variant("text"),
            Self::JsonObject => h.variant("json_object"),
            Self::JsonSchema(JsonSchema { name, description, schema, strict }) => {
                h.variant("json_schema").text(name).json(schema);
                h.option(description.as_deref(), |h, text| h.text(text));
                h.option(*strict, |h, strict| h.boolean(strict))
            }
        }
    }
}
