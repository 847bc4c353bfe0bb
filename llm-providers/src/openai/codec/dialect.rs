/// Differences of a server from OpenAI: a row of the table of those that speak its format.
///
/// Every such server is served by one codec and one of these. Rows are constants; change a field for a server that is
/// like one of them but for that. A message of [`Role::Developer`](llm_core::Role::Developer) goes as `system` where
/// the server does not know the newer name: both mean the same.
///
/// ```
/// use llm_providers::openai::{Dialect, OpenAiProtocol};
///
/// let mut own = Dialect::VLLM;
/// own.name = "own";
/// own.top_k = false;
/// let protocol = OpenAiProtocol::new(own);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Dialect {
    /// The server's name, on receipts and in messages.
    pub name: &'static str,
    /// The server's address.
    pub base_url: &'static str,
    /// Header that holds the key.
    pub key: KeyHeader,
    /// Sends the bound on output tokens as `max_tokens`, for servers that do not know `max_completion_tokens`.
    pub legacy_max_tokens: bool,
    /// Sends `top_k`, which OpenAI does not have and many compatible servers do. Otherwise a request with it is
    /// refused.
    pub top_k: bool,
    /// Asks for embeddings as base64 of little-endian 32-bit floats, a fifth of the bytes of decimal numbers.
    /// Both forms are understood in responses whatever was asked for.
    pub base64_embeddings: bool,
    /// Requests the usage of streams by `stream_options`. False for servers that state it in any case and refuse the
    /// field.
    pub stream_options: bool,
    /// True if the server knows messages of the role `developer`.
    pub developer: bool,
    /// Name of the field `seed`.
    pub seed: &'static str,
    /// Name of the field for the length of vectors.
    pub dimensions: &'static str,
    /// Word of `tool_choice` that requires a call of a tool.
    pub required: &'static str,
    /// Sends ids of tool calls as this many letters and digits, the only ones the server takes. Other ids are replaced
    /// by ones computed from them, in calls and results alike.
    pub call_id_len: Option<usize>,
    /// Form in which reasoning of the conversation so far is sent back.
    pub reasoning: ReasoningFormat,
    /// Counts the excess of `total_tokens` over input and output as reasoning, for a server that bills its hidden
    /// thinking there.
    pub hidden_reasoning: bool,
    /// Unknown fields that come from the server's own responses, and that are sent back to it. Those of other vendors'
    /// responses are
    /// refused: Gemini's `thoughtSignature`, Claude's `citations`, and their like. Fields that no vendor's responses
    /// leave are sent as they are.
    pub own_fields: &'static [&'static str],
    /// Sends what is nearest where the server has no place for a wish that only steers the response, or for what
    /// another vendor's response left in the conversation, in place of an error:
    ///
    /// | field | instead |
    /// |---|---|
    /// | `sampling.seed`, `top_k`, `logprobs`, `top_logprobs` | left out |
    /// | a message's `name` | left out |
    /// | reasoning that cannot be sent back, or has another vendor's signature | left out |
    /// | unknown fields of parts that another vendor's response left | left out |
    pub approximate: bool,
    /// Features that the server does not have. A request that needs one is refused before it is sent.
    pub missing: &'static [MissingFeature],
}

/// Header that holds the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyHeader {
    /// `authorization: Bearer …`.
    Bearer,
    /// `api-key: …`.
    ApiKey,
}

/// Form in which reasoning of the conversation so far is sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReasoningFormat {
    /// The format has no field for reasoning. It is refused, or left out with [`Dialect::approximate`].
    Refused,
    /// `reasoning_content` of messages that call tools, for a server that requires it there. It is left out of other
    /// messages, where the server refuses or ignores it.
    WithCalls,
    /// `reasoning`, and `reasoning_details` with the signatures of the model's vendor where the server has them.
    Details,
    /// Parts of the content of type `thinking`.
    Parts,
}

/// Feature of OpenAI that another server does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MissingFeature {
    /// `sampling.seed`.
    Seed,
    /// `sampling.n` above one.
    Choices,
    /// `sampling.logprobs` and `sampling.top_logprobs`.
    Logprobs,
    /// `tool_choice` with any value but `auto`.
    ToolChoice,
    /// `parallel_tool_calls`.
    ParallelToolCalls,
    /// `response_format` with a schema.
    JsonSchema,
    /// Images.
    Images,
    /// Images at an address; by their bytes they are taken.
    ImageAddresses,
    /// Names of messages.
    Names,
    /// Embeddings.
    Embeddings,
}

impl Dialect {
    /// OpenAI itself.
    pub const OPENAI: Self = Self {
        name: "openai",
        base_url: "https://api.openai.com/v1",
        key: KeyHeader::Bearer,
        legacy_max_tokens: false,
        top_k: false,
        base64_embeddings: false,
        stream_options: true,
        developer: true,
        seed: "seed",
        dimensions: "dimensions",
        required: "required",
        call_id_len: None,
        reasoning: ReasoningFormat::Refused,
        hidden_reasoning: false,
        own_fields: &["custom", "function"],
        approximate: false,
        missing: &[],
    };

    /// Azure OpenAI: its own header for the key. Its addresses differ too: see
    /// [`OpenAi::azure`](crate::OpenAi#method.azure).
    pub const AZURE: Self = Self { name: "azure", key: KeyHeader::ApiKey, ..Self::OPENAI };

    /// Ollama's own server: it fetches no images, and ignores settings that it does not know.
    pub const OLLAMA: Self = Self {
        name: "ollama",
        base_url: "http://localhost:11434/v1",
        legacy_max_tokens: true,
        developer: false,
        missing: &[
            MissingFeature::Choices,
            MissingFeature::ToolChoice,
            MissingFeature::ParallelToolCalls,
            MissingFeature::Logprobs,
            MissingFeature::ImageAddresses,
        ],
        ..Self::OPENAI
    };

    /// vLLM: it takes `top_k`.
    pub const VLLM: Self = Self { name: "vllm", base_url: "http://localhost:8000/v1", top_k: true, ..Self::OPENAI };

    /// Mistral: some fields under other names, no fields that it does not know, ids of nine characters, thinking among
    /// the parts of the content.
    pub const MISTRAL: Self = Self {
        name: "mistral",
        base_url: "https://api.mistral.ai/v1",
        legacy_max_tokens: true,
        stream_options: false,
        developer: false,
        seed: "random_seed",
        dimensions: "output_dimension",
        required: "any",
        call_id_len: Some(9),
        reasoning: ReasoningFormat::Parts,
        missing: &[MissingFeature::Logprobs, MissingFeature::Names],
        ..Self::OPENAI
    };

    /// Groq: one response a request, no probabilities, no names, no embeddings; it takes its reasoning back.
    pub const GROQ: Self = Self {
        name: "groq",
        base_url: "https://api.groq.com/openai/v1",
        reasoning: ReasoningFormat::Details,
        missing: &[
            MissingFeature::Choices,
            MissingFeature::Logprobs,
            MissingFeature::Names,
            MissingFeature::Embeddings,
        ],
        ..Self::OPENAI
    };

    /// DeepSeek: text only, no schema, one response a request; it wants its reasoning back beside tool calls.
    pub const DEEPSEEK: Self = Self {
        name: "deepseek",
        base_url: "https://api.deepseek.com",
        legacy_max_tokens: true,
        developer: false,
        reasoning: ReasoningFormat::WithCalls,
        missing: &[
            MissingFeature::Seed,
            MissingFeature::Choices,
            MissingFeature::ParallelToolCalls,
            MissingFeature::JsonSchema,
            MissingFeature::Images,
            MissingFeature::Embeddings,
        ],
        ..Self::OPENAI
    };

    /// OpenRouter: it takes `top_k`, and reasoning back with its signatures. What one of its models cannot do, it drops
    /// or refuses itself; `provider: {"require_parameters": true}` among the request's unknown fields makes it refuse.
    pub const OPENROUTER: Self = Self {
        name: "openrouter",
        base_url: "https://openrouter.ai/api/v1",
        top_k: true,
        reasoning: ReasoningFormat::Details,
        own_fields: &["custom", "function", "reasoning_details"],
        ..Self::OPENAI
    };

    /// Gemini behind OpenAI's format: its thinking is in the total alone.
    pub const GEMINI: Self = Self {
        name: "gemini",
        base_url: "https://generativelanguage.googleapis.com/v1beta/openai",
        developer: false,
        hidden_reasoning: true,
        own_fields: &["custom", "function", "extra_content"],
        missing: &[MissingFeature::Seed, MissingFeature::Logprobs],
        ..Self::OPENAI
    };

    pub(crate) fn is_missing(&self, feature: MissingFeature) -> bool {
        self.missing.contains(&feature)
    }
}

impl Default for Dialect {
    /// Returns the dialect of OpenAI itself.
    fn default() -> Self {
        Self::OPENAI
    }
}
