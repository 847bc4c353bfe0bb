//! Limits of one embeddings request, as vendors document them.
//!
//! ```
//! use llm_providers::batch_limits;
//!
//! assert_eq!(batch_limits::openai_embeddings().items, 2_048);
//! assert_eq!(batch_limits::gemini_embeddings().items, 100);
//! ```

use llm_core::layer::BatchLimits;

/// Returns the limits of OpenAI's `/embeddings`: 2,048 inputs, 8,192 tokens each, 300,000 tokens in all.
pub const fn openai_embeddings() -> BatchLimits {
    BatchLimits::of_items(2_048).with_tokens_per_item(8_192).with_tokens(300_000)
}

/// Returns the limits of Gemini's `:batchEmbedContents`: 100 texts, 2,048 tokens each (`gemini-embedding-001`).
pub const fn gemini_embeddings() -> BatchLimits {
    BatchLimits::of_items(100).with_tokens_per_item(2_048)
}

/// Returns the limits of Cohere's embeddings, also by its endpoint in OpenAI's format: 96 texts, 128,000 tokens in all.
pub const fn cohere_embeddings() -> BatchLimits {
    BatchLimits::of_items(96).with_tokens(128_000)
}
