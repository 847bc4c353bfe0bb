use std::sync::Arc;

use super::{ChatResponse, ChatStream, Choice, Message, Part, ResponseFormat, Sampling, Tool, ToolChoice};
use crate::{Estimate, Extra, Operation, fingerprint::Fingerprinter, heap_size::shared_size, operation::Streamed};

/// A conversation for a model to continue.
///
/// Cheap to clone. Its fields decide the response and are all part of the cache key, but for the transport fields among
/// `extra`: [`TRANSPORT_FIELDS`](Self::TRANSPORT_FIELDS).
///
/// ```
/// use llm_core::{ChatRequest, Part, Message, Role};
///
/// let request = ChatRequest::new("gpt-4o-mini")
///     .system("You score photos from 1 to 10.")
///     .message(Message::new(Role::User, vec![Part::text("This one?"), Part::image("image/png", &b"..."[..])]))
///     .temperature(0.0)
///     .max_output_tokens(5);
/// assert!(request.validate().is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatRequest {
    /// The model, as the vendor names it.
    pub model: Arc<str>,
    /// The conversation so far.
    pub messages: Arc<Vec<Message>>,
    /// Tools that the model may call. Their order counts.
    pub tools: Arc<Vec<Tool>>,
    /// Tools that the model must call.
    pub tool_choice: Option<ToolChoice>,
    /// True if it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// The form of the response.
    pub response_format: Option<ResponseFormat>,
    /// Effort of reasoning: `none`, `minimal`, `low`, `medium`, `high`, … as the vendor names it.
    pub reasoning_effort: Option<Arc<str>>,
    /// Sampling of the output, and its length.
    pub sampling: Sampling,
    /// Unknown fields, sent as they are.
    pub extra: Extra,
}

/// Likely tokens of an image; vendors' own figures run from 85 to 1,600.
const IMAGE_TOKENS: u64 = 1_000;
/// Tokens that vendors add around a message, a tool or the request itself; real ones are 3 to 8.
const FRAME_TOKENS: u64 = 16;

impl ChatRequest {
    /// Fields among `extra` that say how to send, whom to bill or what to log, and do not decide the response: two
    /// requests that differ in them alone have one cache key.
    pub const TRANSPORT_FIELDS: [&'static str; 9] = [
        "cache_control",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "stream",
        "stream_options",
        "user",
    ];

    /// Fields among `extra` that bring in what is outside the request: an earlier response, a conversation or a prompt
    /// kept by the vendor, a search, a container, tools of others. Responses to such requests are not kept by a cache.
    pub const OUTSIDE_FIELDS: [&'static str; 10] = [
        "cachedContent",
        "container",
        "conversation",
        "enable_search",
        "mcp_servers",
        "plugins",
        "previous_response_id",
        "prompt",
        "search_parameters",
        "web_search_options",
    ];

    /// Creates an empty conversation with a model.
    pub fn new(model: impl Into<Arc<str>>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Adds a message.
    pub fn message(mut self, message: Message) -> Self {
        Arc::make_mut(&mut self.messages).push(message);
        self
    }

    /// Adds instructions. Empty ones are not sent.
    pub fn system(self, text: impl Into<Arc<str>>) -> Self {
        self.message(Message::system(text))
    }

    /// Adds a message of the user.
    pub fn user(self, text: impl Into<Arc<str>>) -> Self {
        self.message(Message::user(text))
    }

    /// Adds a tool.
    pub fn tool(mut self, tool: Tool) -> Self {
        Arc::make_mut(&mut self.tools).push(tool);
        self
    }

    /// Sets the tools that the model must call.
    pub fn tool_choice(mut self, choice: ToolChoice) -> Self {
        self.tool_choice = Some(choice);
        self
    }

    /// Sets the form of the response.
    pub fn response_format(mut self, format: ResponseFormat) -> Self {
        self.response_format = Some(format);
        self
    }

    /// Sets the temperature.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.sampling.temperature = Some(temperature);
        self
    }

    /// Bounds each response, in tokens, reasoning included.
    #[doc(alias = "max_tokens")]
    #[doc(alias = "max_completion_tokens")]
    pub fn max_output_tokens(mut self, most: u64) -> Self {
        self.sampling.max_output_tokens = Some(most);
        self
    }

    /// Sets the sampling of the output.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Adds a field that this library has no name for.
    pub fn extra(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.extra.insert(name, value);
        self
    }

    fn text_bytes(&self) -> u64 {
        let messages: u64 = self.messages.iter().map(Message::text_bytes).sum();
        let tools: u64 = self.tools.iter().map(Tool::text_bytes).sum();
        messages + tools + self.response_format.as_ref().map_or(0, ResponseFormat::text_bytes)
    }

    fn names_outside(&self) -> bool {
        self.extra.iter().any(|(name, _)| Self::OUTSIDE_FIELDS.contains(&name))
    }

    /// Returns `true` if all input is text of the request: no images, no results of the vendor's tools, nothing from
    /// outside.
    fn is_bounded(&self) -> bool {
        let parts = self.messages.iter().flat_map(|message| &message.parts);
        let own_tools = self.tools.iter().any(|tool| matches!(tool, Tool::Other(_)));
        !own_tools && !self.names_outside() && parts.map(Part::text_bytes).all(|bytes| bytes.is_some())
    }
}

impl Operation for ChatRequest {
    type Output = ChatResponse;

    const NAME: &'static str = "chat";

    fn model(&self) -> &str {
        &self.model
    }

    fn shared_model(&self) -> Arc<str> {
        Arc::clone(&self.model)
    }

    fn with_model(&self, model: Arc<str>) -> Option<Self> {
        Some(Self { model, ..self.clone() })
    }

    fn fingerprint(&self, h: &mut Fingerprinter) {
        let Self {
            model,
            messages,
            tools,
            tool_choice,
            parallel_tool_calls,
            response_format,
            reasoning_effort,
            sampling,
            extra,
        } = self;
        h.text(model);
        h.list(messages.iter(), |h, message| message.fingerprint(h));
        h.list(tools.iter(), |h, tool| tool.fingerprint(h));
        h.option(tool_choice.as_ref(), |h, choice| choice.fingerprint(h));
        h.option(*parallel_tool_calls, |h, on| h.boolean(on));
        h.option(response_format.as_ref(), |h, format| format.fingerprint(h));
        h.option(reasoning_effort.as_deref(), |h, effort| h.text(effort));
        sampling.fingerprint(h);
        extra.fingerprint(h, |name| !Self::TRANSPORT_FIELDS.contains(&name));
    }

    /// Estimates four bytes of text for a token, and bounds the tokens by the bytes, because a token has at least one.
    fn estimate(&self) -> Estimate {
        let bytes = self.text_bytes();
        let frames = FRAME_TOKENS * (self.messages.len() + self.tools.len() + 1) as u64;
        let opaque =
            self.messages.iter().flat_map(|m| &m.parts).filter(|part| part.text_bytes().is_none()).count() as u64;
        let choices = self.sampling.n.unwrap_or(1).max(1);
        let output_bound = self.sampling.max_output_tokens.map(|most| most.saturating_mul(choices.into()));
        Estimate {
            input: bytes / 4 + frames / 4 + opaque * IMAGE_TOKENS,
            // An unknown field may be read as well (older forms of tools, a predicted response).
            input_bound: self.is_bounded().then(|| bytes + frames + self.extra.json_bytes()),
            output: (Estimate::OUTPUT * u64::from(choices)).min(output_bound.unwrap_or(u64::MAX)),
            output_bound,
            choices,
        }
    }

    fn answered_by(response: &ChatResponse) -> Option<&Arc<str>> {
        Some(&response.model).filter(|model| !model.is_empty())
    }

    fn is_cacheable(response: &ChatResponse) -> bool {
        !response.choices.is_empty() && response.choices.iter().all(Choice::is_sound)
    }

    fn memory_size(response: &ChatResponse) -> Option<u64> {
        Some(shared_size(response))
    }

    fn conforms(&self, response: &ChatResponse) -> bool {
        let Some(format) = &self.response_format else { return true };
        // A choice that calls tools does not have the form yet.
        let mut said = response.choices.iter().filter(|choice| choice.tool_calls().next().is_none());
        said.all(|choice| format.conforms(&choice.text()))
    }

    /// Returns `true` if the request has a temperature above zero and no fixed seed.
    fn is_sampled(&self) -> bool {
        self.sampling.seed.is_none() && self.sampling.temperature.is_some_and(|temperature| temperature > 0.0)
    }

    /// Returns `true` if all choices say the same, call the same tools and end the same way.
    fn equivalent(one: &ChatResponse, other: &ChatResponse) -> bool {
        one.choices.len() == other.choices.len() && one.choices.iter().zip(&other.choices).all(|(a, b)| a.agrees(b))
    }

    fn is_self_contained(&self) -> bool {
        let mut parts = self.messages.iter().flat_map(|message| &message.parts);
        parts.all(Part::is_self_contained)
            && self.tools.iter().all(|tool| matches!(tool, Tool::Function(_)))
            && !self.names_outside()
    }

    /// Returns a number for the first 4 KiB (about 1,024 tokens) before the last part: the tools, the form of the
    /// response, and the messages, with their images. It stays the same while a conversation grows.
    fn affinity(&self) -> u64 {
        super::affinity::of(&self.model, &self.tools, self.response_format.as_ref(), &self.messages)
    }
}

impl Operation for Streamed<ChatRequest> {
    type Output = ChatStream;

    const NAME: &'static str = ChatRequest::NAME;

    fn model(&self) -> &str {
        self.0.model()
    }

    fn shared_model(&self) -> Arc<str> {
        self.0.shared_model()
    }

    fn with_model(&self, model: Arc<str>) -> Option<Self> {
        self.0.with_model(model).map(Self)
    }

    fn fingerprint(&self, h: &mut Fingerprinter) {
        self.0.fingerprint(h);
    }

    fn estimate(&self) -> Estimate {
        self.0.estimate()
    }

    fn affinity(&self) -> u64 {
        self.0.affinity()
    }

    fn is_repeatable(&self) -> bool {
        self.0.is_repeatable()
    }

    fn answered_by(response: &ChatResponse) -> Option<&Arc<str>> {
        ChatRequest::answered_by(response)
    }

    fn is_cacheable(response: &ChatResponse) -> bool {
        ChatRequest::is_cacheable(response)
    }

    fn conforms(&self, response: &ChatResponse) -> bool {
        self.0.conforms(response)
    }

    fn is_sampled(&self) -> bool {
        self.0.is_sampled()
    }

    fn memory_size(response: &ChatResponse) -> Option<u64> {
        ChatRequest::memory_size(response)
    }

    fn equivalent(one: &ChatResponse, other: &ChatResponse) -> bool {
        ChatRequest::equivalent(one, other)
    }

    fn is_self_contained(&self) -> bool {
        self.0.is_self_contained()
    }
}
