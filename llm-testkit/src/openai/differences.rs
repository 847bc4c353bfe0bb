//! How vendors that speak OpenAI's format differ from it, and from each other.

use crate::flavor::Flavor;

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Differences {
    pub(super) flavor: Flavor,
    /// Paths below which the API is served; the first is the one to tell users of.
    pub(super) prefixes: &'static [&'static str],
    /// A header for the key, beside the bearer token.
    pub(super) key_header: Option<&'static str>,
    /// Whether calls without a key are served.
    pub(super) keyless: bool,
    pub(super) usage: UsageChunk,
    pub(super) thoughts: Thoughts,
    /// A comment at the head of every stream.
    pub(super) comment: &'static str,
    pub(super) limits: LimitHeaders,
    /// The header of the request id.
    pub(super) request_id: Option<&'static str>,
    /// Fields of OpenAI's answers that this vendor does not send.
    pub(super) lacks: &'static [&'static str],
}

/// Where a stream says its usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UsageChunk {
    /// In one more chunk, if asked.
    Own,
    /// In the chunk that finishes the last choice, if asked.
    Finish,
    /// There, asked or not.
    Unasked,
}

/// Where thoughts can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thoughts {
    Hidden,
    /// In a field beside `content`.
    Field(&'static str),
    /// As parts of `content`.
    Parts,
}

/// How limits are advertised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LimitHeaders {
    /// `x-ratelimit-*`, resets as Go prints durations.
    Go,
    /// `x-ratelimit-*`, resets in whole seconds.
    Seconds,
    /// `x-ratelimit-*-{req,tokens}-minute`, no resets.
    Minute,
    None,
}

const OPENAI: Differences = Differences {
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

/// The row of a flavor.
pub(super) const fn differences(flavor: Flavor) -> Differences {
    match flavor {
        Flavor::OpenAi => OPENAI,
        Flavor::Azure => Differences {
            flavor,
            prefixes: &["/openai/v1", "/models"],
            key_header: Some("api-key"),
            limits: LimitHeaders::Seconds,
            lacks: &["cache_write_tokens"],
            ..OPENAI
        },
        Flavor::Mistral => Differences {
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
        Flavor::DeepSeek => Differences {
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
        Flavor::Groq => Differences {
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
        Flavor::OpenRouter => Differences {
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
        Flavor::Ollama => Differences {
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
        Flavor::Vllm => Differences {
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
