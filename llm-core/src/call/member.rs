use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Name of a member of a key pool. The name does not contain the member's API key, so it may be logged. Cheap to clone.
///
/// The pool puts it into the [extensions](super::Call::extensions) of the call that it sends to a member, where the
/// ledger reads it, into the extensions of the reply, and into
/// [`Accounting::member`](crate::layer::Accounting::member).
///
/// ```
/// use llm_core::{Embeddings, Receipt, Reply, layer::MemberId};
///
/// let mut reply = Reply::new(Embeddings::default(), Receipt::default());
/// reply.extensions.insert(MemberId::from("openai-eu"));
/// assert_eq!(reply.extensions.get::<MemberId>().map(MemberId::as_str), Some("openai-eu"));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(Arc<str>);

impl MemberId {
    /// Returns the member's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for MemberId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for MemberId {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<Arc<str>> for MemberId {
    fn from(name: Arc<str>) -> Self {
        Self(name)
    }
}

impl Borrow<str> for MemberId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
