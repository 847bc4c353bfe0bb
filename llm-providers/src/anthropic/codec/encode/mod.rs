//! Requests.

mod block;
mod chat;
mod image;
mod plan;
mod prompt;
mod tool;

use llm_core::{Error, ErrorKind, Extra};
use serde::ser::SerializeMap;

pub(crate) use self::chat::{encode_chat, encode_count};

/// Refuses further fields that would stand beside a field of the same name.
fn no_shadow(of: &str, extra: &Extra, taken: &[&str]) -> Result<(), Error> {
    match extra.iter().find(|(name, _)| taken.contains(name)) {
        Some((name, _)) => {
            Err(Error::invalid(format!("{of}extra.{name} shadows a field of the request: set that instead")))
        }
        None => Ok(()),
    }
}

/// Makes the error of a request that this format cannot express.
fn unsupported(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} in anthropic's messages format"))
}

/// Writes a field if it is set.
fn entry<M: SerializeMap, V: serde::Serialize>(map: &mut M, name: &str, value: &Option<V>) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(name, value),
        None => Ok(()),
    }
}

/// Writes further fields.
fn entries<M: SerializeMap>(map: &mut M, extra: &Extra) -> Result<(), M::Error> {
    extra.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))
}

fn bytes(body: &impl serde::Serialize) -> Result<bytes::Bytes, Error> {
    let encoded = serde_json::to_vec(body);
    Ok(encoded.map_err(|error| Error::invalid("the request cannot be written as JSON").with_source(error))?.into())
}
