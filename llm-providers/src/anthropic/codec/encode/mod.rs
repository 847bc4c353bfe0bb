//! Requests.

mod block;
mod chat;
mod image;
mod plan;
mod prompt;
mod tool;

use llm_core::Error;

use crate::protocol::encode;

pub(crate) use self::chat::{encode_chat, encode_count};

/// Makes the error of a request that this format cannot express.
fn unsupported(what: impl std::fmt::Display) -> Error {
    encode::unsupported(what, "anthropic's messages format")
}
