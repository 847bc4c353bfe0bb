//! Requests.

mod chat;
mod content;
mod embed;
mod message;
mod thought;
mod tool;

use llm_core::Error;

use super::Dialect;
use crate::protocol::encode;

pub(crate) use self::chat::encode_chat;
pub(crate) use self::embed::encode_embed;

/// Makes the error of a request that this format cannot express.
fn unsupported(dialect: &Dialect, what: impl std::fmt::Display) -> Error {
    encode::unsupported(what, &format!("{}'s chat format", dialect.name))
}
