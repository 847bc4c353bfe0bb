//! Decoding of complete responses.

mod block;
mod chat;
mod count;
mod counts;
mod iterations;
mod models;
mod usage;

pub(crate) use self::chat::decode_chat;
pub(crate) use self::chat::decode_response;
pub(crate) use self::count::decode_count;
pub(crate) use self::models::decode_models;
pub(super) use self::{block::read_block, chat::settle, usage::ResponseUsage};
