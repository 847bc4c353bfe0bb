//! Whole answers.

mod chat;
mod content;
mod embed;
mod models;
mod tool;
mod usage;

pub use self::chat::decode_chat;
pub use self::embed::decode_embeddings;
pub(in crate::openai) use self::{chat::chat, embed::vectors, models::models};
pub(super) use self::{
    chat::{service_tier, take_finish},
    content::{details_part, split_content, take_details},
    tool::arguments,
    usage::take_usage,
};
use crate::wire::Decoded;
