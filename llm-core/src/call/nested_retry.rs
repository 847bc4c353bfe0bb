/// Marker in [`Call::extensions`](super::Call::extensions) of a layer above that retries, so that layers below do not.
///
/// Retries under retries multiply: three under three are nine calls for one request, just when the vendor has no room.
/// A layer that retries or fails over inserts it before it sends a call down, and sends a call that has it only once.
///
/// ```
/// use llm_core::{Call, layer::NestedRetry};
///
/// let mut call = Call::new("acme", "a request");
/// call.extensions.insert(NestedRetry);
/// assert!(call.extensions.get::<NestedRetry>().is_some());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NestedRetry;
