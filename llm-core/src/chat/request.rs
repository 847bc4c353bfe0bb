use std::sync::Arc;

use super::{ChatResponse, ChatStream, Choice, Message, Part, ResponseFormat, Sampling, Tool, ToolChoice};
use crate::{Estimate, Extra, Operation, fingerprint::Fingerprinter, heap_size::shared_size, operation::Streamed};

/// A conversation for a model to continue.
///
/// Cheap to clone. All fields are part of the cache key, because they decide the response. Only the [transport
/// fields](Self::TRANSPORT_FIELDS) among `extra` are not.
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
    /// Tools that the model may call. Requests with the same tools in another order have other cache keys.
    pub tools: Arc<Vec<Tool>>,
    /// Rule for the use of tools: which of them the model must call, if any.
    pub tool_choice: Option<ToolChoice>,
    /// True if the model may call several tools at once; `None` for the vendor's default.
    pub parallel_tool_calls: Option<bool>,
    /// Form that the response must have: text or JSON.
    pub response_format: Option<ResponseFormat>,
    /// Effort that the model spends on reasoning, in the vendor's terms: `none`, `minimal`, `low`, `medium`, `high`, ….
    pub reasoning_effort: Option<Arc<str>>,
    /// Parameters that control the sampling, the number and the length of the responses.
    pub sampling: Sampling,
    /// Unknown fields, sent as they are.
    pub extra: Extra,
}

/// Estimated tokens of an image; vendors state between 85 and 1,600.
const IMAGE_TOKENS: u64 = 1_000;
/// Estimated tokens that a vendor adds around a message, a tool or the request; vendors really add 3 to 8.
const FRAME_TOKENS: u64 = 16;

impl ChatRequest {
    /// Names of fields among `extra` that say how to send the request, whom to bill or what to log. They do not decide
    /// the response, so requests that differ only in them have one cache key.
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

    /// Names of fields among `extra` that refer to something outside the request: an earlier response, a conversation
    /// or a prompt stored by the vendor, a search, a container, tools of other servers. A cache does not store
    /// responses to such requests.
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

    /// Creates a request for a model, without messages and with the vendor's defaults.
    pub fn new(model: impl Into<Arc<str>>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Appends a message to the conversation.
    pub fn message(mut self, message: Message) -> Self {
        Arc::make_mut(&mut self.messages).push(message);
        self
    }

    /// Appends a message with the application's instructions. Empty instructions are not added.
    pub fn system(self, text: impl Into<Arc<str>>) -> Self {
        self.message(Message::system(text))
    }

    /// Appends a message of the user with one part of text.
    pub fn user(self, text: impl Into<Arc<str>>) -> Self {
        self.message(Message::user(text))
    }

    /// Adds a tool that the model may call.
    pub fn tool(mut self, tool: Tool) -> Self {
        Arc::make_mut(&mut self.tools).push(tool);
        self
    }

    /// Sets the rule for the use of tools: which of them the model must call, if any.
    pub fn tool_choice(mut self, choice: ToolChoice) -> Self {
        self.tool_choice = Some(choice);
        self
    }

    /// Sets the form that the response must have.
    pub fn response_format(mut self, format: ResponseFormat) -> Self {
        self.response_format = Some(format);
        self
    }

    /// Sets the temperature: 0 chooses the likeliest token each time, higher values choose others more often.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.sampling.temperature = Some(temperature);
        self
    }

    /// Sets the largest number of output tokens of each response, reasoning included.
    #[doc(alias = "max_tokens")]
    #[doc(alias = "max_completion_tokens")]
    pub fn max_output_tokens(mut self, most: u64) -> Self {
        self.sampling.max_output_tokens = Some(most);
        self
    }

    /// Sets the parameters that control the sampling, the number and the length of the responses. Replaces those set
    /// before.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Adds an unknown field, which is sent as it is.
    pub fn extra(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.extra.insert(name, value);
        self
    }

    /// Returns the number of bytes of the request's text, for token estimates, and the number of parts that are not
    /// text.
    fn text_bytes(&self) -> (u64, u64) {
        let tools: u64 = self.tools.iter().map(Tool::text_bytes).sum();
        let own = tools + self.response_format.as_ref().map_or(0, ResponseFormat::text_bytes);
        let messages = self.messages.iter().map(Message::text_bytes);
        messages.fold((own, 0), |(bytes, others), (text, more)| (bytes + text, others + more))
    }

    fn names_outside(&self) -> bool {
        self.extra.iter().any(|(name, _)| Self::OUTSIDE_FIELDS.contains(&name))
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

    /// Estimates one token for four bytes of text. The bound is one token for each byte, because a token has at least
    /// one byte.
    fn estimate(&self) -> Estimate {
        let (bytes, opaque) = self.text_bytes();
        let frames = FRAME_TOKENS * (self.messages.len() + self.tools.len() + 1) as u64;
        // The input has a bound only if it is all text of the request itself, without images, results of the vendor's
        // tools, and references to something outside the request.
        let has_vendor_tools = self.tools.iter().any(|tool| matches!(tool, Tool::Other(_)));
        let is_bounded = opaque == 0 && !has_vendor_tools && !self.names_outside();
        let choices = self.sampling.n.unwrap_or(1).max(1);
        let output_bound = self.sampling.max_output_tokens.map(|most| most.saturating_mul(choices.into()));
        Estimate {
            input: bytes / 4 + frames / 4 + opaque * IMAGE_TOKENS,
            // The vendor may count an unknown field as input too (older forms of tools, a predicted response).
            input_bound: is_bounded.then(|| bytes + frames + self.extra.json_bytes()),
            output: (Estimate::OUTPUT * u64::from(choices)).min(output_bound.unwrap_or(u64::MAX)),
            output_bound,
            choices,
        }
    }

    fn response_model(response: &ChatResponse) -> Option<&Arc<str>> {
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
        // A choice that calls tools is not checked, because the model answers in the requested form only after the
        // tools' results.
        let mut said = response.choices.iter().filter(|choice| choice.tool_calls().next().is_none());
        said.all(|choice| format.conforms(&choice.text()))
    }

    /// Returns `true` if the request has a temperature above zero and no fixed seed.
    fn is_sampled(&self) -> bool {
        self.sampling.seed.is_none() && self.sampling.temperature.is_some_and(|temperature| temperature > 0.0)
    }

    /// Returns `true` if both responses have the same choices: equal text, tool calls and ends.
    fn equivalent(one: &ChatResponse, other: &ChatResponse) -> bool {
        one.choices.len() == other.choices.len() && one.choices.iter().zip(&other.choices).all(|(a, b)| a.agrees(b))
    }

    fn is_self_contained(&self) -> bool {
        let mut parts = self.messages.iter().flat_map(|message| &message.parts);
        parts.all(Part::is_self_contained)
            && self.tools.iter().all(|tool| matches!(tool, Tool::Function(_)))
            && !self.names_outside()
    }

    /// Returns a hash of the beginning of the request: the first 4 KiB (about 1,024 tokens) of the tools, the form of
    /// the response and the messages with their images, without the last part. The hash stays the same while a
    /// conversation grows.
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

    fn response_model(response: &ChatResponse) -> Option<&Arc<str>> {
        ChatRequest::response_model(response)
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
