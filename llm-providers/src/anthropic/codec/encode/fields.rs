use llm_core::{Error, Extra};
use serde::ser::SerializeMap;

use super::super::Options;
use crate::protocol::{cross_vendor, encode::no_shadow};

/// Names of unknown fields that this vendor's own responses contain.
pub(super) const OWN: [&str; 3] = ["caller", "citations", "signature"];

/// Writes unknown fields, except those that come from another vendor's response.
pub(super) fn entries<M: SerializeMap>(map: &mut M, extra: &Extra) -> Result<(), M::Error> {
    cross_vendor::own_fields(extra, &OWN).try_for_each(|(name, value)| map.serialize_entry(name, value))
}

/// Returns an error if an unknown field has the name of a known one, or comes from another vendor's response.
pub(super) fn check_fields(extra: &Extra, here: &str, taken: &[&str], options: Options) -> Result<(), Error> {
    no_shadow(&format!("{here}."), extra, taken)?;
    if options.approximate { Ok(()) } else { cross_vendor::refuse_fields(extra, here, &OWN) }
}
