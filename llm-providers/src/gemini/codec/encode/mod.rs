//! Requests.

mod chat;
mod config;
mod count;
mod embed;
mod message;
mod part;
mod result;
mod tool;

use llm_core::{Error, ErrorKind, Extra};

pub(crate) use self::chat::encode_chat;
pub(crate) use self::count::encode_count;
pub(crate) use self::embed::encode_embed;

/// Refuses further fields that would stand beside a field of the same name.
fn no_shadow<'n>(of: &str, names: impl IntoIterator<Item = &'n str>, taken: &[&str]) -> Result<(), Error> {
    match names.into_iter().find(|name| taken.contains(name)) {
        Some(name) => Err(Error::invalid(format!("{of}{name} shadows a field of the request: set that instead"))),
        None => Ok(()),
    }
}

fn names(extra: &Extra) -> impl Iterator<Item = &str> {
    extra.iter().map(|(name, _)| name)
}

/// Makes the error of a request that this format cannot express.
fn unsupported(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} in gemini's format"))
}

fn bytes(body: &impl serde::Serialize) -> Result<bytes::Bytes, Error> {
    let encoded = serde_json::to_vec(body);
    Ok(encoded.map_err(|error| Error::invalid("the request cannot be written as JSON").with_source(error))?.into())
}
