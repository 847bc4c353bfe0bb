use bytes::Bytes;
use llm_core::{ChatRequest, Error, chat::Sampling};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    super::Options,
    plan::Plan,
    prompt::Prompt,
    tool::{self, EncodedChoice, EncodedTool},
    unsupported::unsupported,
};
use crate::protocol::encode::{bytes, entry, no_shadow};

/// Names of a request's known fields, which its unknown fields must not have.
const TAKEN: [&str; 11] = [
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "stream",
];
/// Unknown fields that do not change the number of input tokens. The endpoint that counts tokens refuses them.
const UNCOUNTED: [&str; 5] = ["metadata", "service_tier", "container", "inference_geo", "speed"];

/// Writes a chat request, in the form that the documentation of the module [`anthropic`](crate::anthropic) describes.
pub(crate) fn encode_chat(request: &ChatRequest, options: Options, streamed: bool) -> Result<Bytes, Error> {
    check_sampling(&request.sampling, options)?;
    encode(request, options, Purpose::Response { streamed })
}

/// Returns the body of a request to count input tokens: that of [`encode_chat`] without the fields that do not change
/// the number of input tokens (`max_tokens`, sampling, `metadata`, `service_tier`, `container`, `inference_geo`,
/// `speed`).
///
/// # Errors
///
/// The errors of [`encode_chat`].
pub(crate) fn encode_count(request: &ChatRequest, options: Options) -> Result<Bytes, Error> {
    encode(request, options, Purpose::Count)
}

#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    Response { streamed: bool },
    Count,
}

struct Body<'a> {
    request: &'a ChatRequest,
    options: Options,
    purpose: Purpose,
    prompt: Prompt<'a>,
    plan: Plan<'a>,
}

fn encode(request: &ChatRequest, options: Options, purpose: Purpose) -> Result<Bytes, Error> {
    request.validate()?;
    no_shadow("", &request.extra, &TAKEN)?;
    for (at, tool) in request.tools.iter().enumerate() {
        tool::check(tool, at)?;
    }
    let prompt = Prompt::of(&request.messages, options)?;
    let plan = Plan::of(request, options)?;
    bytes(&Body { request, options, purpose, prompt, plan })
}

fn check_sampling(sampling: &Sampling, options: Options) -> Result<(), Error> {
    let Sampling {
        temperature,
        top_p: _,
        top_k: _,
        frequency_penalty,
        presence_penalty,
        seed,
        stop: _,
        n,
        max_output_tokens: _,
        logprobs,
        top_logprobs,
    } = sampling;
    if n.is_some_and(|n| n > 1) {
        return Err(unsupported("sampling.n above 1 has no place"));
    }
    if temperature.is_some_and(|temperature| temperature > 1.0) {
        return Err(unsupported("sampling.temperature above 1 has no place"));
    }
    let steering = [
        ("frequency_penalty", frequency_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("presence_penalty", presence_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("seed", seed.is_some()),
        ("logprobs", *logprobs == Some(true)),
        ("top_logprobs", top_logprobs.is_some_and(|most| most > 0)),
    ];
    match steering.into_iter().find(|(_, set)| *set && !options.approximate) {
        Some((name, _)) => Err(unsupported(format!("sampling.{name} has no place"))),
        None => Ok(()),
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ChatRequest {
            model,
            messages: _,
            tools,
            tool_choice,
            parallel_tool_calls,
            response_format: _,
            reasoning_effort: _,
            sampling,
            extra,
        } = self.request;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", model)?;
        if self.purpose != Purpose::Count {
            map.serialize_entry("max_tokens", &sampling.max_output_tokens.unwrap_or(self.options.max_tokens))?;
        }
        if !self.prompt.system.is_empty() {
            map.serialize_entry("system", &self.prompt.system)?;
        }
        map.serialize_entry("messages", &self.prompt.turns)?;
        if !tools.is_empty() {
            map.serialize_entry("tools", &tools.iter().map(EncodedTool).collect::<Vec<_>>())?;
        }
        let single = *parallel_tool_calls == Some(false) && !tools.is_empty();
        entry(&mut map, "tool_choice", &EncodedChoice::of(tool_choice.as_ref(), single))?;
        entry(&mut map, "thinking", &self.plan.thinking)?;
        entry(&mut map, "output_config", &self.plan.output_config)?;
        if self.purpose != Purpose::Count {
            self.sampling(&mut map)?;
        }
        for (name, value) in extra.iter().filter(|(name, _)| !matches!(*name, "thinking" | "output_config")) {
            if self.purpose != Purpose::Count || !UNCOUNTED.contains(&name) {
                map.serialize_entry(name, value)?;
            }
        }
        if self.purpose == (Purpose::Response { streamed: true }) {
            map.serialize_entry("stream", &true)?;
        }
        map.end()
    }
}

impl Body<'_> {
    fn sampling<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let sampling = &self.request.sampling;
        entry(map, "temperature", &sampling.temperature)?;
        entry(map, "top_p", &sampling.top_p)?;
        entry(map, "top_k", &sampling.top_k)?;
        if !sampling.stop.is_empty() {
            map.serialize_entry("stop_sequences", &sampling.stop)?;
        }
        Ok(())
    }
}
