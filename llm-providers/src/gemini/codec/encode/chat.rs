use std::collections::BTreeMap;

use bytes::Bytes;
use llm_core::{ChatRequest, Error};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    super::Dialect,
    config,
    message::{self, Content},
    tool::{self, ToolEntry},
    unsupported::unsupported,
};
use crate::protocol::encode::{bytes, no_shadow};

/// Names of a request's known fields, which its unknown fields must not have.
const TAKEN: [&str; 8] = [
    "contents",
    "generation_config",
    "model",
    "systemInstruction",
    "system_instruction",
    "toolConfig",
    "tool_config",
    "tools",
];

/// Writes a chat request, in the form that the documentation of the module [`gemini`](crate::gemini) describes.
pub(crate) fn encode_chat(request: &ChatRequest, dialect: Dialect) -> Result<Bytes, Error> {
    bytes(&Body::new(request, dialect)?)
}

/// Body of a request in Gemini's form.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    /// Name of the model, which is written only if the request is inside another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<String>,
    pub(super) contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    generation_config: Map<String, Value>,
    #[serde(flatten)]
    extra: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Body<'a> {
    pub(super) fn new(request: &'a ChatRequest, dialect: Dialect) -> Result<Self, Error> {
        request.validate()?;
        let ChatRequest {
            model: _,
            messages,
            tools,
            tool_choice,
            parallel_tool_calls,
            response_format: _,
            reasoning_effort: _,
            sampling: _,
            extra,
        } = request;
        no_shadow("", extra, &TAKEN)?;
        if *parallel_tool_calls == Some(false) {
            return Err(unsupported("parallel_tool_calls, which cannot be switched off, has no place"));
        }
        let (system_instruction, contents) = message::conversation(messages, dialect)?;
        Ok(Self {
            model: None,
            contents,
            system_instruction,
            tools: tool::entries(tools, dialect)?,
            tool_config: tool_choice.as_ref().map(tool::config),
            generation_config: config::generation(request, dialect)?,
            extra: extra.iter().filter(|(name, _)| *name != config::NAME).collect(),
        })
    }

    /// Returns `true` if the request has no other field than `contents`.
    pub(super) fn is_bare(&self) -> bool {
        self.system_instruction.is_none()
            && self.tools.is_empty()
            && self.tool_config.is_none()
            && self.generation_config.is_empty()
            && self.extra.is_empty()
    }
}
