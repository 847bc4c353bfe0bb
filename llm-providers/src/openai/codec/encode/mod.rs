//! Encoding of requests.

mod chat;
mod content;
mod embed;
mod message;
mod thought;
mod tool;
mod unsupported;

pub(crate) use self::chat::encode_chat;
pub(crate) use self::embed::encode_embed;
