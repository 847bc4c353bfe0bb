//! Whose ways the vendor has.

use crate::openai;

/// A wire format. Which one a call speaks follows from its path, and from its headers where paths are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Format {
    /// Chat completions and embeddings, as OpenAI and those compatible with it serve them.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Gemini's `generateContent` and its kin.
    Gemini,
}

/// Whose OpenAI-compatible ways the vendor has: keys, headers, chunks, errors. It does not change what answers say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flavor {
    /// OpenAI itself.
    #[default]
    OpenAi,
    /// Azure OpenAI: `api-key`, deployments in paths, filter results, resets in bare seconds.
    Azure,
    /// Mistral: usage in the last chunk without being asked, thoughts as content parts, errors as `detail`.
    Mistral,
    /// DeepSeek: `reasoning_content`, cache hits and misses, comments in streams.
    DeepSeek,
    /// Groq: `x_groq`, `reasoning`, timings.
    Groq,
    /// OpenRouter: comments in streams, costs, error codes that are numbers, errors inside chunks.
    OpenRouter,
    /// Ollama's OpenAI-compatible path: no keys, no limits.
    Ollama,
    /// vLLM: no keys unless it is told some, no limits, error codes that are numbers.
    Vllm,
}

impl Flavor {
    /// Returns the path below which the vendor serves its API, such as `/v1`.
    ///
    /// ```
    /// assert_eq!(llm_testkit::Flavor::Groq.path_prefix(), "/openai/v1");
    /// ```
    pub fn path_prefix(self) -> &'static str {
        openai::of(self).prefixes()[0]
    }
}
