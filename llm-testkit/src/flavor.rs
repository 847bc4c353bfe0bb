//! Wire formats, and flavors of OpenAI's format.

use crate::openai;

/// Wire format of a call. It follows from the path, and from the headers if formats share a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Format {
    /// Chat completions and embeddings of OpenAI and compatible vendors.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Gemini's `generateContent` and related methods.
    Gemini,
}

/// Vendor whose dialect of OpenAI's format is simulated: keys, headers, chunks, errors. It does not change the texts of
/// responses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flavor {
    /// OpenAI itself.
    #[default]
    OpenAi,
    /// Azure OpenAI: key in the header `api-key`, deployments in paths, results of the content filter in responses, resets
    /// of rate limits in whole seconds without a unit.
    Azure,
    /// Mistral: usage in the last chunk unconditionally, reasoning as content parts, errors as `detail`.
    Mistral,
    /// DeepSeek: `reasoning_content`, cache hits and misses, comments in streams.
    DeepSeek,
    /// Groq: `x_groq`, `reasoning`, timings.
    Groq,
    /// OpenRouter: comments in streams, costs, error codes that are numbers, errors inside chunks.
    OpenRouter,
    /// Ollama's OpenAI-compatible API: no keys, no limits.
    Ollama,
    /// vLLM: no keys unless some are set, no limits, error codes that are numbers.
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
