/// Differences between OpenAI and one of the servers that speak its format.
///
/// One codec serves all these servers, each with a dialect. There is a constant for each known server. For another
/// server, copy the constant of a similar server and change the fields that differ. A message of
/// [`Role::Developer`](llm_core::Role::Developer) is sent as `system` if the server does not know the newer name,
/// because both mean the same.
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
    /// Name of the server on receipts and in messages.
    pub name: &'static str,
    /// Base URL of the server.
    pub base_url: &'static str,
    /// Header that holds the API key.
    pub key: KeyHeader,
    /// True to send the bound on output tokens as `max_tokens`, for servers that do not know `max_completion_tokens`.
    pub legacy_max_tokens: bool,
    /// True to send `top_k`, which many compatible servers have and OpenAI does not. If `false`, a request with `top_k`
    /// is refused.
    pub top_k: bool,
    /// True to request embeddings as base64 of little-endian 32-bit floats, which takes a fifth of the bytes of decimal
    /// numbers. Responses in both forms are read, whatever this field is.
    pub base64_embeddings: bool,
    /// True to request the usage of streams by `stream_options`. Set `false` for servers that always state the usage
    /// and refuse the field.
    pub stream_options: bool,
    /// True if the server knows messages of the role `developer`.
    pub developer: bool,
    /// Name that the server has for the field `seed`.
    pub seed: &'static str,
    /// Name of the field for the number of dimensions of embeddings.
    pub dimensions: &'static str,
    /// Value of `tool_choice` that requires the model to call a tool.
    pub required: &'static str,
    /// Number of letters and digits that the id of a tool call must have for this server; `None` if any id is accepted.
    /// Other ids are replaced by ids computed from them, in calls and results alike.
    pub call_id_len: Option<usize>,
    /// Form in which reasoning of the conversation so far is sent to the server.
    pub reasoning: ReasoningFormat,
    /// True to count the excess of `total_tokens` over input and output as reasoning, for a server that states the
    /// tokens of hidden thinking only in the total.
    pub hidden_reasoning: bool,
    /// Unknown fields that the server's own responses contain, and that are sent back to it. Fields that only other
    /// vendors' responses contain (Gemini's `thoughtSignature`, Claude's `citations`) are refused. Fields that no
    /// vendor's responses contain are sent unchanged.
    pub own_fields: &'static [&'static str],
    /// True to send the nearest request that the server supports, instead of returning an error, if it lacks a field
    /// that only influences the response or that another vendor's response left in the conversation:
    ///
    /// | field | instead |
    /// |---|---|
    /// | `sampling.seed`, `top_k`, `logprobs`, `top_logprobs` | left out |
    /// | a message's `name` | left out |
    /// | reasoning that cannot be sent back, or has another vendor's signature | left out |
    /// | unknown fields of parts that another vendor's response left | left out |
    pub approximate: bool,
    /// Features that the server does not support. A request that needs one of them is refused before it is sent.
    pub missing: &'static [MissingFeature],
}

/// Header that holds the API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyHeader {
    /// `authorization: Bearer …`.
    Bearer,
    /// `api-key: …`.
    ApiKey,
}

/// Form in which reasoning of the conversation so far is sent to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReasoningFormat {
    /// The format has no field for reasoning. A request with reasoning is refused, or sent without it if
    /// [`Dialect::approximate`] is set.
    Refused,
    /// The field `reasoning_content` of messages that call tools, for a server that requires the field in these
    /// messages. The field is left out of other messages, because the server refuses or ignores it there.
    WithCalls,
    /// The field `reasoning`, and `reasoning_details` with the signatures of the model's vendor for servers that know
    /// them.
    Details,
    /// Parts of the content of type `thinking`.
    Parts,
}

/// Feature of OpenAI that another server does not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MissingFeature {
    /// `sampling.seed`.
    Seed,
    /// `sampling.n` greater than one.
    Choices,
    /// `sampling.logprobs` and `sampling.top_logprobs`.
    Logprobs,
    /// `tool_choice` with any value but `auto`.
    ToolChoice,
    /// `parallel_tool_calls`.
    ParallelToolCalls,
    /// `response_format` with a schema.
    JsonSchema,
    /// Images of any kind.
    Images,
    /// Images by URL; images as bytes are supported.
    ImageAddresses,
    /// The field `name` of messages, which names the speaker.
    Names,
    /// Embeddings.
    Embeddings,
}

impl Dialect {
    /// Dialect of OpenAI itself.
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

    /// Azure OpenAI, which has another header for the key. Its URLs differ too: see
    /// [`OpenAi::azure`](crate::OpenAi#method.azure).
    pub const AZURE: Self = Self { name: "azure", key: KeyHeader::ApiKey, ..Self::OPENAI };

    /// Ollama, which fetches no images, and ignores settings that it does not know.
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

    /// vLLM, which supports `top_k`.
    pub const VLLM: Self = Self { name: "vllm", base_url: "http://localhost:8000/v1", top_k: true, ..Self::OPENAI };

    /// Mistral, which has other names for some fields, refuses fields that it does not know, requires ids of nine
    /// characters, and returns its thinking as parts of the content.
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

    /// Groq, which returns one choice for a request, and does not support probabilities, names or embeddings. It
    /// accepts its own reasoning in later requests.
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

    /// DeepSeek, which accepts only text, supports no schema, and returns one choice for a request. It requires its own
    /// reasoning in later requests beside tool calls.
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

    /// OpenRouter, which supports `top_k`, and accepts reasoning with its signatures in later requests. It drops or
    /// refuses options that a model does not support; with `provider: {"require_parameters": true}` among the request's
    /// unknown fields it always refuses them.
    pub const OPENROUTER: Self = Self {
        name: "openrouter",
        base_url: "https://openrouter.ai/api/v1",
        top_k: true,
        reasoning: ReasoningFormat::Details,
        own_fields: &["custom", "function", "reasoning_details"],
        ..Self::OPENAI
    };

    /// Gemini behind OpenAI's format. Only `total_tokens` includes the tokens of its thinking.
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
