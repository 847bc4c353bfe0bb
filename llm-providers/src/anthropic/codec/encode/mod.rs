//! Encoding of requests.

mod block;
mod chat;
mod fields;
mod image;
mod plan;
mod prompt;
mod tool;
mod unsupported;

pub(crate) use self::chat::{encode_chat, encode_count};
