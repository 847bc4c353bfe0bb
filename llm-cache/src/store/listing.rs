use std::{fmt, str::FromStr, sync::Arc};

use super::{Name, Record};

/// How far a walk through a store has come. It prints as text, and that can be read again in another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(Arc<str>);

/// Some entries of a store.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) found: Vec<Listed>,
    /// Those that could not be read.
    pub(crate) corrupt: Vec<Name>,
    /// Where to go on; `None` at the end.
    pub(crate) next: Option<Cursor>,
}

/// An entry as it lies in a store.
pub(crate) struct Listed {
    pub(crate) name: Name,
    pub(crate) record: Record,
    pub(crate) bytes: u64,
    /// True if it is of use yet: not past its end, and not invalidated.
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
