//! Dialects of OpenAI's format, as one table.

use crate::flavor::Flavor;

/// Dialect of one vendor, as a row of the table.
#[derive(Debug)]
pub(crate) struct Dialect {
    pub(super) flavor: Flavor,
    /// Paths below which the API is served. The first is the documented one.
    pub(super) prefixes: &'static [&'static str],
    /// Name of a header for the key, as an alternative to the bearer token.
    pub(super) key_header: Option<&'static str>,
    /// True if calls without a key are served.
    pub(super) keyless: bool,
    pub(super) usage: UsageChunk,
    pub(super) thoughts: Thoughts,
    /// Comment at the beginning of every stream; empty if there is none.
    pub(super) comment: &'static str,
    pub(super) limits: LimitHeaders,
    /// Name of the header with the request id.
    pub(super) request_id: Option<&'static str>,
    /// Fields of OpenAI's responses that this vendor does not send.
    pub(super) lacks: &'static [&'static str],
}

/// Position of the usage in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UsageChunk {
    /// Usage in a separate chunk, if the request asks for it.
    Own,
    /// Usage in the chunk that finishes the last choice, if the request asks for it.
    Finish,
    /// Usage in the chunk that finishes the last choice, even if the request does not ask for it.
    Unasked,
}

/// Position of the reasoning in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thoughts {
    Hidden,
    /// Reasoning in a field beside `content`.
    Field(&'static str),
    /// Reasoning in parts of `content`.
    Parts,
}

/// Headers that advertise limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LimitHeaders {
    /// `x-ratelimit-*`, with resets as Go prints durations.
    Go,
    /// `x-ratelimit-*`, with resets in whole seconds.
    Seconds,
    /// `x-ratelimit-*-{req,tokens}-minute`, without resets.
    Minute,
    None,
}

const OPENAI: Dialect = Dialect {
    flavor: Flavor::OpenAi,
    prefixes: &["/v1"],
    key_header: None,
    keyless: false,
    usage: UsageChunk::Own,
    thoughts: Thoughts::Hidden,
    comment: "",
    limits: LimitHeaders::Go,
    request_id: Some("x-request-id"),
    lacks: &[],
};

const PREDICTION: [&str; 2] = ["accepted_prediction_tokens", "rejected_prediction_tokens"];

/// Returns the row of a flavor.
pub(super) const fn dialect(flavor: Flavor) -> Dialect {
    match flavor {
        Flavor::OpenAi => OPENAI,
        Flavor::Azure => Dialect {
            flavor,
            prefixes: &["/openai/v1", "/models"],
            key_header: Some("api-key"),
            limits: LimitHeaders::Seconds,
            lacks: &["cache_write_tokens"],
            ..OPENAI
        },
        Flavor::Mistral => Dialect {
            flavor,
            usage: UsageChunk::Unasked,
            thoughts: Thoughts::Parts,
            limits: LimitHeaders::Minute,
            request_id: None,
            lacks: &[
                "logprobs",
                "refusal",
                "annotations",
                "service_tier",
                "system_fingerprint",
                "audio_tokens",
                "cache_write_tokens",
                "completion_tokens_details",
            ],
            ..OPENAI
        },
        Flavor::DeepSeek => Dialect {
            flavor,
            prefixes: &["", "/v1", "/beta"],
            usage: UsageChunk::Finish,
            thoughts: Thoughts::Field("reasoning_content"),
            comment: ": keep-alive\n\n",
            limits: LimitHeaders::None,
            request_id: None,
            lacks: &[
                "refusal",
                "annotations",
                "service_tier",
                "audio_tokens",
                "cache_write_tokens",
                PREDICTION[0],
                PREDICTION[1],
            ],
            ..OPENAI
        },
        Flavor::Groq => Dialect {
            flavor,
            prefixes: &["/openai/v1"],
            usage: UsageChunk::Finish,
            thoughts: Thoughts::Field("reasoning"),
            lacks: &[
                "refusal",
                "annotations",
                "audio_tokens",
                "cache_write_tokens",
                "param",
                PREDICTION[0],
                PREDICTION[1],
            ],
            ..OPENAI
        },
        Flavor::OpenRouter => Dialect {
            flavor,
            prefixes: &["/api/v1"],
            usage: UsageChunk::Own,
            thoughts: Thoughts::Field("reasoning"),
            comment: ": OPENROUTER PROCESSING\n\n",
            limits: LimitHeaders::None,
            request_id: None,
            lacks: &["annotations", "service_tier", PREDICTION[0], PREDICTION[1]],
            ..OPENAI
        },
        Flavor::Ollama => Dialect {
            flavor,
            keyless: true,
            thoughts: Thoughts::Field("reasoning"),
            limits: LimitHeaders::None,
            request_id: None,
            lacks: &[
                "logprobs",
                "refusal",
                "annotations",
                "service_tier",
                "prompt_tokens_details",
                "completion_tokens_details",
            ],
            ..OPENAI
        },
        Flavor::Vllm => Dialect {
            flavor,
            keyless: true,
            thoughts: Thoughts::Field("reasoning_content"),
            limits: LimitHeaders::None,
            request_id: None,
            lacks: &["annotations", "service_tier", "prompt_tokens_details", "completion_tokens_details"],
            ..OPENAI
        },
    }
}
