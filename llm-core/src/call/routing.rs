use std::sync::Arc;

use super::{CallOption, Unread};

/// Marker in [`Call::extensions`](super::Call::extensions) of a call that only the requested model may answer.
///
/// A key pool does not send such a call to a member that would answer with a fallback model, and a cache does not
/// return a stored response of a fallback model.
///
/// ```
/// use llm_core::{Call, ChatRequest, layer::NoFallback};
///
/// let call = Call::new("acme", ChatRequest::new("gpt-4o").user("hello")).with_option(NoFallback);
/// assert!(call.extensions.get::<NoFallback>().is_some());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NoFallback;

impl CallOption for NoFallback {
    // Without a key pool no fallback model can answer.
    fn unread(&self) -> Unread {
        Unread::Met
    }
}

/// Name of the group of a key pool that must serve a call, in [`Call::extensions`](super::Call::extensions).
///
/// A vendor keeps files, responses and conversations for one of its accounts only. A call that names such an object
/// must go to the group (the account) that created it.
///
/// ```
/// use llm_core::{Call, ChatRequest, layer::Pinned};
///
/// let request = ChatRequest::new("gpt-4o").user("And then?").extra("previous_response_id", "resp_7");
/// let call = Call::new("acme", request).with_option(Pinned::to("openai-eu"));
/// assert_eq!(call.extensions.get::<Pinned>().map(Pinned::group), Some("openai-eu"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pinned(Arc<str>);

impl CallOption for Pinned {
    fn unread(&self) -> Unread {
        let way_out = "put a llm_keypool::KeyPool with the group of its `Pinned` above the client, or send it without";
        Unread::Refused { way_out }
    }
}

impl Pinned {
    /// Pins a call to a group.
    pub fn to(group: impl Into<Arc<str>>) -> Self {
        Self(group.into())
    }

    /// Returns the group's name.
    pub fn group(&self) -> &str {
        &self.0
    }
}
