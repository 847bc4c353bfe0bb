use std::collections::BTreeMap;

use bytes::Bytes;
use llm_core::{ChatRequest, Error};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    super::Dialect,
    bytes, config,
    message::{self, Content},
    names, no_shadow,
    tool::{self, ToolEntry},
    unsupported,
};

/// Names that further fields cannot take.
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

/// The body of `generateContent` and `streamGenerateContent`.
///
/// Further fields of the request stand at the top (`safetySettings`, `cachedContent`, `serviceTier`); those in an object
/// `generationConfig` among them stand there (`mediaResolution`, `responseModalities`, `thinkingConfig`).
///
/// - `reasoning_effort`: `none` is a `thinkingBudget` of 0, a number is that budget, any other word is that
///   `thinkingLevel`. Gemini refuses what its model does not have: 2.5 takes budgets, 3 takes levels.
/// - A tool's answer that is a JSON object goes as it is, any other as `{"result": text}`; of a tool that failed it goes
///   as `{"error": …}`. Answers of neighbouring messages stand in one turn, as Gemini wants answers to parallel calls.
/// - Parts go back with the seals (`thoughtSignature`) that they came with. Gemini 3 wants one on calls that it made; for
///   calls of another model's the further field `thoughtSignature` takes the value that its documentation has for them.
/// - What another vendor's answers left in the conversation (seals of reasoning, citations) is refused, or left out:
///   [`Dialect::approximate`]. Arguments and answers of tools go as they were written, to the last digit.
/// - Answers that must follow a schema always do exactly; the schema's `name` is not told to the model.
///
/// # Errors
///
/// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) as [`ChatRequest::validate`]; if a further field
/// shadows one of the request; if a tool result answers no earlier call, whose name it needs; if arguments of a call are
/// no JSON object. [`ErrorKind::Unsupported`](llm_core::ErrorKind::Unsupported), naming the field, for what the format
/// cannot say: what another vendor's answers left, instructions after the conversation began, names of speakers,
/// refusals, images at addresses other than Gemini's own files, `detail` of images, strict functions, a ban on parallel
/// calls.
pub fn encode_chat(request: &ChatRequest, dialect: Dialect) -> Result<Bytes, Error> {
    bytes(&Body::new(request, dialect)?)
}

/// A whole request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    /// Only where the request stands inside another.
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
        no_shadow("extra.", names(extra), &TAKEN)?;
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

    /// Whether there is nothing to it but its contents.
    pub(super) fn is_bare(&self) -> bool {
        self.system_instruction.is_none()
            && self.tools.is_empty()
            && self.tool_config.is_none()
            && self.generation_config.is_empty()
            && self.extra.is_empty()
    }
}
