use std::sync::Arc;

/// Marker in [`Call::extensions`](super::Call::extensions) of a call that only the requested model may answer.
///
/// A key pool sends such a call to no member whose model stands in, and a cache returns no stored response of a stand-in.
///
/// ```
/// use llm_core::{Call, ChatRequest, layer::NoFallback};
///
/// let mut call = Call::new("acme", ChatRequest::new("gpt-4o").user("hello"));
/// call.extensions.insert(NoFallback);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NoFallback;

/// Group of a key pool that a call must go to, in [`Call::extensions`](super::Call::extensions).
///
/// Files, responses and conversations that a vendor keeps are known to one of its accounts only, so a call that names one
/// must go to the group that made it.
///
/// ```
/// use llm_core::{Call, ChatRequest, layer::Pinned};
///
/// let request = ChatRequest::new("gpt-4o").user("And then?").extra("previous_response_id", "resp_7");
/// let mut call = Call::new("acme", request);
/// call.extensions.insert(Pinned::to("openai-eu"));
/// assert_eq!(call.extensions.get::<Pinned>().map(Pinned::group), Some("openai-eu"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pinned(Arc<str>);

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
