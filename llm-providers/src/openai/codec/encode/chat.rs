use bytes::Bytes;
use llm_core::{
    ChatRequest, Error,
    chat::{ResponseFormat, Sampling, ToolChoice},
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use super::{
    super::{Dialect, MissingFeature},
    message,
    tool::{EncodedChoice, EncodedFormat, EncodedTool},
    unsupported::unsupported,
};
use crate::protocol::encode::{bytes, entry, no_shadow};

/// Names of a request's known fields, which its unknown fields must not have.
const TAKEN: [&str; 21] = [
    "model",
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "temperature",
    "top_p",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "random_seed",
    "stop",
    "n",
    "max_tokens",
    "max_completion_tokens",
    "logprobs",
    "top_logprobs",
    "stream",
];

/// Writes a chat request, in the form that the documentation of the module [`openai`](crate::openai) describes.
pub(crate) fn encode_chat(request: &ChatRequest, dialect: Dialect, streamed: bool) -> Result<Bytes, Error> {
    request.validate()?;
    no_shadow("", &request.extra, &TAKEN)?;
    check(request, &dialect)?;
    for (at, message) in request.messages.iter().enumerate() {
        message::check(message, at, &dialect)?;
    }
    for (at, tool) in request.tools.iter().enumerate() {
        EncodedTool(tool).check(at)?;
    }
    bytes(&Body { request, dialect, streamed })
}

/// Returns an error for features that the server does not support.
fn check(request: &ChatRequest, dialect: &Dialect) -> Result<(), Error> {
    let Sampling { top_k, seed, n, logprobs, top_logprobs, .. } = &request.sampling;
    let exact = !dialect.approximate;
    if exact && top_k.is_some() && !dialect.top_k {
        return Err(unsupported(dialect, "sampling.top_k has no place"));
    }
    let chosen = request.tool_choice.as_ref().is_some_and(|choice| *choice != ToolChoice::Auto);
    let schema = matches!(request.response_format, Some(ResponseFormat::JsonSchema(_)));
    let features = [
        (MissingFeature::Seed, exact && seed.is_some(), "sampling.seed"),
        (MissingFeature::Choices, n.is_some_and(|n| n > 1), "sampling.n above one"),
        (MissingFeature::Logprobs, exact && logprobs == &Some(true), "sampling.logprobs"),
        (MissingFeature::Logprobs, exact && top_logprobs.is_some(), "sampling.top_logprobs"),
        (MissingFeature::ToolChoice, chosen, "tool_choice"),
        (MissingFeature::ParallelToolCalls, request.parallel_tool_calls.is_some(), "parallel_tool_calls"),
        (MissingFeature::JsonSchema, schema, "response_format with a schema"),
    ];
    match features.into_iter().find(|(feature, is_used, _)| *is_used && dialect.is_missing(*feature)) {
        Some((.., field)) => Err(unsupported(dialect, format!("{field} has no place"))),
        None => Ok(()),
    }
}

struct Body<'a> {
    request: &'a ChatRequest,
    dialect: Dialect,
    streamed: bool,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ChatRequest {
            model,
            messages,
            tools,
            tool_choice,
            parallel_tool_calls,
            response_format,
            reasoning_effort,
            sampling: _,
            extra,
        } = self.request;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", model)?;
        map.serialize_entry("messages", &message::Messages(messages, &self.dialect))?;
        if !tools.is_empty() {
            map.serialize_entry("tools", &tools.iter().map(EncodedTool).collect::<Vec<_>>())?;
        }
        entry(
            &mut map,
            "tool_choice",
            &tool_choice.as_ref().map(|choice| EncodedChoice(choice, self.dialect.required)),
        )?;
        entry(&mut map, "parallel_tool_calls", parallel_tool_calls)?;
        entry(&mut map, "response_format", &response_format.as_ref().map(EncodedFormat))?;
        entry(&mut map, "reasoning_effort", reasoning_effort)?;
        self.sampling(&mut map)?;
        for (name, value) in extra.iter().filter(|(name, _)| *name != "stream_options") {
            map.serialize_entry(name, value)?;
        }
        if self.streamed {
            map.serialize_entry("stream", &true)?;
            match extra.get("stream_options") {
                None if !self.dialect.stream_options => {}
                given => map.serialize_entry("stream_options", &stream_options(given))?,
            }
        }
        map.end()
    }
}

impl Body<'_> {
    fn sampling<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
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
        } = &self.request.sampling;
        let dialect = &self.dialect;
        let seed = seed.filter(|_| !dialect.is_missing(MissingFeature::Seed));
        let (logprobs, top_logprobs) = match dialect.is_missing(MissingFeature::Logprobs) {
            true => (None, None),
            false => (*logprobs, *top_logprobs),
        };
        entry(map, "temperature", temperature)?;
        entry(map, "top_p", top_p)?;
        entry(map, "top_k", &top_k.filter(|_| dialect.top_k))?;
        entry(map, "frequency_penalty", frequency_penalty)?;
        entry(map, "presence_penalty", presence_penalty)?;
        entry(map, dialect.seed, &seed)?;
        if !stop.is_empty() {
            map.serialize_entry("stop", stop)?;
        }
        entry(map, "n", n)?;
        let most = if dialect.legacy_max_tokens { "max_tokens" } else { "max_completion_tokens" };
        entry(map, most, max_output_tokens)?;
        entry(map, "logprobs", &logprobs)?;
        entry(map, "top_logprobs", &top_logprobs)
    }
}

/// Adds the option that requests the usage, because the cost of a stream is unknown without it.
fn stream_options(given: Option<&Value>) -> Value {
    let mut options = match given {
        Some(Value::Object(options)) => options.clone(),
        _ => Map::new(),
    };
    options.insert("include_usage".to_owned(), Value::Bool(true));
    Value::Object(options)
}
