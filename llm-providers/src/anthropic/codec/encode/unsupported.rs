use llm_core::Error;

use crate::protocol::encode;

/// Creates the error of a request that Anthropic's format cannot express.
pub(super) fn unsupported(what: impl std::fmt::Display) -> Error {
    encode::unsupported(what, "anthropic's messages format")
}
