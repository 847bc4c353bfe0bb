//! Whole answers.

mod chat;
mod content;
mod embed;
mod tool;
mod usage;

use std::sync::Arc;

use llm_core::Usage;

pub use self::chat::decode_chat;
pub use self::embed::decode_embeddings;
pub(super) use self::{chat::finish_reason, content::split_content, tool::arguments, usage::take_usage};

/// An answer, with what came beside it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Decoded<A> {
    /// The answer.
    pub answer: A,
    /// What it took; `None` if the vendor did not say.
    pub usage: Option<Usage>,
    /// The vendor's service class, which decides the price; `None` if it did not say.
    pub service_tier: Option<Arc<str>>,
}
