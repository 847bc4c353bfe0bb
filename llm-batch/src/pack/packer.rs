use llm_core::{
    ChatRequest, ChatResponse, Message, Operation, Part, Role,
    chat::{ResponseFormat, Sampling},
    layer::Fingerprinter,
};

use super::schema;

/// Kind of prompts that may be packed with each other.
///
/// All methods have defaults, which [`ChatPacker`] uses. A packer for a domain accepts fewer requests, describes its
/// items more precisely, or compares responses in its own way. The layer packs only requests of one tenant with equal
/// frames, and sends requests that cannot be packed unchanged: see the crate's documentation. If a method panics, all
/// calls of the pack fail.
///
/// ```
/// use llm_batch::pack::Packer;
/// use llm_core::{ChatRequest, ChatResponse};
///
/// /// Scores of photos. Two scores count as equal if they differ by at most one.
/// struct Scores;
///
/// impl Packer for Scores {
///     fn name(&self) -> &'static str {
///         "scores"
///     }
///
///     fn instruction(&self) -> &str {
///         "Each item is a photo. Score each on its own, as if you saw no other."
///     }
///
///     fn equivalent(&self, one: &ChatResponse, other: &ChatResponse) -> bool {
///         let score = |response: &ChatResponse| response.text().trim().parse::<i32>().ok();
///         score(one).zip(score(other)).is_some_and(|(one, other)| (one - other).abs() <= 1)
///     }
/// }
/// ```
pub trait Packer: Send + Sync + 'static {
    /// Returns the packer's name, under which the numbers of prompts in a request are judged and reported. Requests of
    /// different packers are not packed together.
    fn name(&self) -> &'static str;

    /// Returns `true` if this packer is to pack the request. The layer calls this only for requests that can be packed.
    fn accepts(&self, request: &ChatRequest) -> bool {
        let _ = request;
        true
    }

    /// Returns the text that describes the items to the model, and precedes the form of the response. It must be the
    /// same for all requests of the packer, so that vendors' prompt caches can reuse it.
    fn instruction(&self) -> &str {
        "Each item is a message of the user."
    }

    /// Returns `true` if a packed response is equivalent to the response to the request alone. By default two responses
    /// are equivalent if they have the same text.
    fn equivalent(&self, alone: &ChatResponse, packed: &ChatResponse) -> bool {
        ChatRequest::equivalent(alone, packed)
    }
}

/// Packer that packs every request that can be packed. The frame is the request without its last message, which must be
/// of the user. The item is that message.
///
/// ```
/// use llm_batch::pack::{ChatPacker, Packer};
/// use llm_core::ChatRequest;
///
/// assert!(ChatPacker.accepts(&ChatRequest::new("m").user("hello").max_output_tokens(50)));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ChatPacker;

impl Packer for ChatPacker {
    fn name(&self) -> &'static str {
        "chat"
    }
}

/// Returns bytes that are equal for requests with equal frames; `None` for a request that cannot be packed.
///
/// A request can only be packed if its response is a single text with a bound on its length. Requests cannot be packed
/// if they have several choices, tools, stop texts, log probabilities, content other than text and images, JSON without
/// a schema, unknown fields other than [transport fields](ChatRequest::TRANSPORT_FIELDS), references to something
/// outside, or no bound on the output.
pub(super) fn frame_key(packer: &dyn Packer, request: &ChatRequest) -> Option<Vec<u8>> {
    let Sampling { stop, n, max_output_tokens, logprobs, top_logprobs, .. } = &request.sampling;
    let is_plain = |part: &Part| matches!(part, Part::Text { .. } | Part::Image(_));
    let last = request.messages.last()?;
    let Message { role: Role::User, name: None, extra, parts } = last else { return None };
    let can_be = extra.is_empty()
        && !parts.is_empty()
        && request.messages.iter().flat_map(|message| &message.parts).all(is_plain)
        && request.extra.iter().all(|(name, _)| ChatRequest::TRANSPORT_FIELDS.contains(&name))
        && request.tools.is_empty()
        && request.tool_choice.is_none()
        && stop.is_empty()
        && n.is_none_or(|n| n == 1)
        && !logprobs.unwrap_or_default()
        && top_logprobs.is_none()
        && max_output_tokens.is_some()
        && request.is_self_contained();
    let is_nestable = match &request.response_format {
        None | Some(ResponseFormat::Text) => true,
        Some(ResponseFormat::JsonObject) => false,
        Some(ResponseFormat::JsonSchema(format)) => schema::nest(&format.schema).is_some(),
    };
    if !can_be || !is_nestable || !packer.accepts(request) {
        return None;
    }
    let mut h = Fingerprinter::new();
    h.text(packer.name());
    frame(request).fingerprint(&mut h);
    // Transport fields are part of the key too, because they may decide who is billed.
    for (name, value) in request.extra.iter() {
        h.text(name).text(&value.to_string());
    }
    Some(h.into_bytes())
}

/// Returns a request's frame, which is the request without its last message and its bound on output tokens.
pub(super) fn frame(request: &ChatRequest) -> ChatRequest {
    let mut frame = request.clone();
    std::sync::Arc::make_mut(&mut frame.messages).pop();
    frame.sampling.max_output_tokens = None;
    frame
}

/// Returns the estimated input tokens of the request's frame and of its item, in this order.
pub(super) fn tokens(request: &ChatRequest) -> (u64, u64) {
    let (all, frame) = (request.estimate().input, frame(request).estimate().input);
    (frame, all.saturating_sub(frame).max(1))
}
