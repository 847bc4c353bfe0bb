//! Encoding of requests.

mod chat;
mod config;
mod count;
mod embed;
mod message;
mod part;
mod result;
mod tool;
mod unsupported;

pub(crate) use self::chat::encode_chat;
pub(crate) use self::count::encode_count;
pub(crate) use self::embed::encode_embed;
