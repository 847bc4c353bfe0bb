//! Encoding of request parts that all formats share.

use bytes::Bytes;
use llm_core::{Error, ErrorKind, Extra};
use serde::ser::SerializeMap;

/// Returns an error if an unknown field has one of the names `taken`, which known fields have.
pub(crate) fn no_shadow(of: &str, extra: &Extra, taken: &[&str]) -> Result<(), Error> {
    no_name_shadows(&format!("{of}extra."), names(extra), taken)
}

/// Returns an error if one of `names` is taken. The error states the name behind `path`.
pub(crate) fn no_name_shadows<'n>(
    path: &str,
    names: impl IntoIterator<Item = &'n str>,
    taken: &[&str],
) -> Result<(), Error> {
    match names.into_iter().find(|name| taken.contains(name)) {
        Some(name) => Err(Error::invalid(format!("{path}{name} shadows a field of the request: set that instead"))),
        None => Ok(()),
    }
}

/// Returns the names of unknown fields.
pub(crate) fn names(extra: &Extra) -> impl Iterator<Item = &str> {
    extra.iter().map(|(name, _)| name)
}

/// Creates the error of a request that a format cannot express.
pub(crate) fn unsupported(what: impl std::fmt::Display, format: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} in {format}"))
}

/// Writes a field if it is set.
pub(crate) fn entry<M: SerializeMap, V: serde::Serialize>(
    map: &mut M,
    name: &str,
    value: &Option<V>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(name, value),
        None => Ok(()),
    }
}

/// Writes unknown fields.
pub(crate) fn entries<M: SerializeMap>(map: &mut M, extra: &Extra) -> Result<(), M::Error> {
    extra.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))
}

/// Returns the body as JSON.
pub(crate) fn bytes(body: &impl serde::Serialize) -> Result<Bytes, Error> {
    let encoded = serde_json::to_vec(body);
    Ok(encoded.map_err(|error| Error::invalid("the request cannot be written as JSON").with_source(error))?.into())
}
