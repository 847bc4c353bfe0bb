//! Whole answers.

mod block;
mod chat;
mod count;
mod iterations;
mod models;
mod usage;

pub(in crate::anthropic) use self::chat::decode_answer;
pub use self::chat::decode_chat;
pub use self::count::decode_count;
pub use self::models::decode_models;
pub(super) use self::{block::read_block, chat::settle, usage::Told};
