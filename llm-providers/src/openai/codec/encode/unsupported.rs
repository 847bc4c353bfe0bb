use llm_core::Error;

use super::super::Dialect;
use crate::protocol::encode;

/// Creates the error of a request that the server's format cannot express.
pub(super) fn unsupported(dialect: &Dialect, what: impl std::fmt::Display) -> Error {
    encode::unsupported(what, &format!("{}'s chat format", dialect.name))
}
