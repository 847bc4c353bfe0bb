//! Limits of one embeddings request, as documented by the vendors or by clients of their APIs.
//!
//! ```
//! use llm_providers::batch_limits;
//!
//! assert_eq!(batch_limits::openai_embeddings().items, 2_048);
//! assert_eq!(batch_limits::gemini_embeddings().items, 100);
//! assert_eq!(batch_limits::mistral_embeddings().tokens, Some(16_000));
//! ```

use llm_core::layer::BatchLimits;

/// Returns the limits of OpenAI's `/embeddings`: 2,048 inputs, 8,192 tokens in each, 300,000 tokens in all.
pub const fn openai_embeddings() -> BatchLimits {
    BatchLimits::of_items(2_048).with_tokens_per_item(8_192).with_tokens(300_000)
}

/// Returns the limits of Gemini's `:batchEmbedContents`: 100 texts, 2,048 tokens in each (`gemini-embedding-001`).
pub const fn gemini_embeddings() -> BatchLimits {
    BatchLimits::of_items(100).with_tokens_per_item(2_048)
}

/// Returns the limits of Cohere's embeddings: 96 texts, 128,000 tokens in all. The limits hold for Cohere's endpoint in
/// OpenAI's format too.
pub const fn cohere_embeddings() -> BatchLimits {
    BatchLimits::of_items(96).with_tokens(128_000)
}

/// Returns the limits of Mistral's `/embeddings`: 256 texts, 16,000 tokens in all.
///
/// Mistral documents no limits. The number of texts was found by trial according to the documentation of the crate
/// `rig-core` (257 are refused, "Too many inputs in request"). The number of tokens is documented by LangChain's
/// `MistralAIEmbeddings`.
pub const fn mistral_embeddings() -> BatchLimits {
    BatchLimits::of_items(256).with_tokens(16_000)
}

/// Returns the limits of Voyage's `/embeddings`: 128 texts, 120,000 tokens in all.
///
/// The limits come from the API definition in Voyage's own client (`EmbedRequest` of npm's `voyageai` 0.0.4), and are
/// those of the models that accept the fewest tokens. Newer models may accept more.
pub const fn voyage_embeddings() -> BatchLimits {
    BatchLimits::of_items(128).with_tokens(120_000)
}
