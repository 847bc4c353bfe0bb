//! Listings of a store outside the process, page by page.

use std::{fmt, str::FromStr, sync::Arc};

use super::{Name, Record};

/// Position in a listing of a store. Its `Display` is a text that another process can parse.
///
/// ```
/// use llm_cache::Cursor;
///
/// let cursor: Cursor = "00ff".parse().expect("any text is a cursor");
/// assert_eq!(cursor.to_string(), "00ff");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(Arc<str>);

/// Page of a store's entries.
#[derive(Default)]
pub(crate) struct Page {
    /// Entries that could be read.
    pub(crate) found: Vec<Listed>,
    /// Names of entries that could not be read.
    pub(crate) corrupt: Vec<Name>,
    /// Cursor of the next page; `None` on the last page.
    pub(crate) next: Option<Cursor>,
}

/// Entry in a listing.
pub(crate) struct Listed {
    /// Name of the entry.
    pub(crate) name: Name,
    /// Content of the entry.
    pub(crate) record: Record,
    /// Bytes that the entry takes in the store.
    pub(crate) bytes: u64,
    /// True if a cache may still serve the entry, because it is fresh, or stale but still usable, and not invalidated.
    pub(crate) live: bool,
}

impl Cursor {
    pub(crate) fn new(place: impl Into<Arc<str>>) -> Self {
        Self(place.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Cursor {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
