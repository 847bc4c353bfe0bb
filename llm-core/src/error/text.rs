//! Message of an error, which may be built when it is first read.

use std::{
    error::Error as StdError,
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

/// Text of an error, which may be built when it is first read.
#[derive(Clone)]
pub(super) enum Text {
    Static(&'static str),
    Shared(Arc<str>),
    /// Cause whose text is built when it is first read, and the built text.
    Of(Arc<dyn StdError + Send + Sync>, OnceLock<Arc<str>>),
}

impl Text {
    pub(super) fn of(cause: &Arc<dyn StdError + Send + Sync>) -> Self {
        Self::Of(Arc::clone(cause), OnceLock::new())
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Shared(text) => text,
            Self::Of(cause, text) => text.get_or_init(|| cause.to_string().into()),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
