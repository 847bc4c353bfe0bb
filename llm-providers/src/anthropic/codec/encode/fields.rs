use llm_core::{Error, Extra};
use serde::ser::SerializeMap;

use super::super::Options;
use crate::protocol::{cross_vendor, encode::no_shadow};

/// Unknown fields that come from this vendor's own responses.
pub(super) const OWN: [&str; 3] = ["caller", "citations", "signature"];

/// Writes unknown fields, without those that another vendor's response left.
pub(super) fn entries<M: SerializeMap>(map: &mut M, extra: &Extra) -> Result<(), M::Error> {
    cross_vendor::own_fields(extra, &OWN).try_for_each(|(name, value)| map.serialize_entry(name, value))
}

/// Refuses unknown fields that stand beside one of the same name, or that another vendor's response left.
pub(super) fn check_fields(extra: &Extra, here: &str, taken: &[&str], options: Options) -> Result<(), Error> {
    no_shadow(&format!("{here}."), extra, taken)?;
    if options.approximate { Ok(()) } else { cross_vendor::refuse_fields(extra, here, &OWN) }
}
