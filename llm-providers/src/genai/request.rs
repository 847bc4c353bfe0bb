use ::genai::{
    adapter::AdapterKind,
    chat::{
        ChatOptions, ChatRequest as GenaiRequest, ChatResponseFormat, JsonSpec, ReasoningEffort, Tool as GenaiTool,
        ToolChoice as GenaiChoice, ToolName,
    },
};
use llm_core::{
    ChatRequest, Error, Extra, Tool,
    chat::{FunctionTool, JsonSchema, ResponseFormat, Sampling, ToolChoice},
};
use serde_json::{Map, Value};

use super::{error::unsupported, message};

/// Adapters for which `genai` sends requests in OpenAI's format.
const OWN: [AdapterKind; 10] = [
    AdapterKind::Anthropic,
    AdapterKind::BedrockApi,
    AdapterKind::Cohere,
    AdapterKind::Gemini,
    AdapterKind::GeminiIx,
    AdapterKind::Ollama,
    AdapterKind::OllamaCloud,
    AdapterKind::OpenAIResp,
    AdapterKind::OpenCodeGo,
    AdapterKind::Vertex,
];

/// Adapters with a format of their own that send unknown fields unchanged.
const EXTRA: [AdapterKind; 4] =
    [AdapterKind::Anthropic, AdapterKind::Gemini, AdapterKind::GeminiIx, AdapterKind::OpenAIResp];
/// Adapters that send the field `seed`.
const SEED: [AdapterKind; 5] = [
    AdapterKind::Gemini,
    AdapterKind::GeminiIx,
    AdapterKind::Ollama,
    AdapterKind::OllamaCloud,
    AdapterKind::OpenAIResp,
];
/// Adapters that send the tool choice.
const CHOICE: [AdapterKind; 4] =
    [AdapterKind::Anthropic, AdapterKind::Gemini, AdapterKind::GeminiIx, AdapterKind::OpenAIResp];
/// Adapters that send the response format.
const FORMAT: [AdapterKind; 6] = [
    AdapterKind::Anthropic,
    AdapterKind::Gemini,
    AdapterKind::GeminiIx,
    AdapterKind::Ollama,
    AdapterKind::OllamaCloud,
    AdapterKind::OpenAIResp,
];

/// Converts the conversation and the tools of a request.
pub(super) fn chat(request: &ChatRequest, kind: AdapterKind, approximate: bool) -> Result<GenaiRequest, Error> {
    request.validate()?;
    let messages = request.messages.iter().enumerate().map(|(at, one)| message::message(one, at, kind, approximate));
    let tools = request.tools.iter().enumerate().map(|(at, one)| tool(one, at));
    let mut chat = GenaiRequest::new(messages.collect::<Result<_, _>>()?);
    let tools: Vec<_> = tools.collect::<Result<_, _>>()?;
    chat.tools = (!tools.is_empty()).then_some(tools);
    Ok(chat)
}

/// Converts all fields of a request but the conversation and the tools.
pub(super) fn options(request: &ChatRequest, kind: AdapterKind) -> Result<ChatOptions, Error> {
    let ChatRequest {
        model: _,
        messages: _,
        tools: _,
        tool_choice,
        parallel_tool_calls,
        response_format,
        reasoning_effort,
        sampling,
        extra,
    } = request;
    let carried =
        |is_set: bool, by: &[AdapterKind], field: &str| match is_set && OWN.contains(&kind) && !by.contains(&kind) {
            true => Err(unsupported(format!("{field} with {kind}"))),
            false => Ok(()),
        };
    if parallel_tool_calls.is_some() {
        return Err(unsupported("parallel_tool_calls"));
    }
    carried(tool_choice.is_some(), &CHOICE, "tool_choice")?;
    carried(sampling.seed.is_some(), &SEED, "sampling.seed")?;
    let formed = response_format.as_ref().is_some_and(|format| *format != ResponseFormat::Text);
    carried(formed, &FORMAT, "response_format")?;
    let unknown = unknown_fields(extra);
    carried(unknown.is_some(), &EXTRA, "an unknown field")?;
    let options = ChatOptions {
        tool_choice: tool_choice.as_ref().map(choice).transpose()?,
        response_format: response_format.as_ref().map(format).transpose()?.flatten(),
        reasoning_effort: reasoning_effort.as_deref().map(effort).transpose()?,
        extra_body: unknown,
        ..ChatOptions::default()
    };
    sampled(sampling, options)
}

fn sampled(sampling: &Sampling, options: ChatOptions) -> Result<ChatOptions, Error> {
    let Sampling {
        temperature,
        top_p,
        top_k,
        frequency_penalty,
        presence_penalty,
        seed,
        stop,
        n,
        max_output_tokens,
        logprobs,
        top_logprobs,
    } = sampling;
    let missing = [
        (top_k.is_some(), "sampling.top_k"),
        (frequency_penalty.is_some(), "sampling.frequency_penalty"),
        (presence_penalty.is_some(), "sampling.presence_penalty"),
        (n.is_some_and(|n| n > 1), "sampling.n above one"),
        (*logprobs == Some(true), "sampling.logprobs"),
        (top_logprobs.is_some(), "sampling.top_logprobs"),
        (seed.is_some_and(|seed| seed < 0), "sampling.seed below zero"),
        (max_output_tokens.is_some_and(|most| u32::try_from(most).is_err()), "sampling.max_output_tokens of this size"),
    ];
    if let Some((_, field)) = missing.into_iter().find(|(is_set, _)| *is_set) {
        return Err(unsupported(field));
    }
    Ok(ChatOptions {
        temperature: *temperature,
        top_p: *top_p,
        max_tokens: max_output_tokens.and_then(|most| u32::try_from(most).ok()),
        seed: seed.and_then(|seed| u64::try_from(seed).ok()),
        stop_sequences: stop.iter().map(|text| text.to_string()).collect(),
        ..options
    })
}

fn tool(tool: &Tool, at: usize) -> Result<GenaiTool, Error> {
    let Tool::Function(FunctionTool { name, description, parameters, strict, extra }) = tool else {
        return Err(unsupported(format!("tools[{at}], which is no function,")));
    };
    if let Some((name, _)) = extra.iter().next() {
        return Err(unsupported(format!("tools[{at}].{name}")));
    }
    let mut tool = GenaiTool::new(ToolName::Custom(name.to_string()));
    tool.description = description.as_deref().map(str::to_owned);
    tool.schema = parameters.as_deref().cloned();
    tool.strict = *strict;
    Ok(tool)
}

fn choice(choice: &ToolChoice) -> Result<GenaiChoice, Error> {
    match choice {
        ToolChoice::Auto => Ok(GenaiChoice::Auto),
        ToolChoice::None => Ok(GenaiChoice::None),
        ToolChoice::Required => Ok(GenaiChoice::Required),
        ToolChoice::Function(name) => Ok(GenaiChoice::tool(&**name)),
        ToolChoice::Other(_) => Err(unsupported("a tool_choice without a name")),
    }
}

fn format(format: &ResponseFormat) -> Result<Option<ChatResponseFormat>, Error> {
    match format {
        ResponseFormat::Text => Ok(None),
        ResponseFormat::JsonObject => Ok(Some(ChatResponseFormat::JsonMode)),
        ResponseFormat::JsonSchema(JsonSchema { name, description, schema, strict }) => {
            // `genai` always requests strict schemas, and adds the keywords that a strict schema requires.
            if *strict == Some(false) {
                return Err(unsupported("response_format.strict that is off"));
            }
            if description.is_some() {
                return Err(unsupported("response_format.description"));
            }
            Ok(Some(JsonSpec::new(&**name, (**schema).clone()).into()))
        }
    }
}

fn effort(effort: &str) -> Result<ReasoningEffort, Error> {
    ReasoningEffort::from_keyword(effort).ok_or_else(|| unsupported(format!("reasoning_effort {effort:?}")))
}

/// Returns the unknown fields, except those about streaming, which `genai` sets itself.
fn unknown_fields(extra: &Extra) -> Option<Value> {
    let ours = |name: &str| matches!(name, "stream" | "stream_options");
    let fields: Map<_, _> =
        extra.iter().filter(|(name, _)| !ours(name)).map(|(name, value)| (name.to_owned(), value.clone())).collect();
    (!fields.is_empty()).then_some(Value::Object(fields))
}
