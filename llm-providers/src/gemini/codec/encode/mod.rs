//! Requests.

mod chat;
mod config;
mod count;
mod embed;
mod message;
mod part;
mod result;
mod tool;

use llm_core::Error;

use crate::protocol::encode;

pub(crate) use self::chat::encode_chat;
pub(crate) use self::count::encode_count;
pub(crate) use self::embed::encode_embed;

/// Makes the error of a request that this format cannot express.
fn unsupported(what: impl std::fmt::Display) -> Error {
    encode::unsupported(what, "gemini's format")
}
