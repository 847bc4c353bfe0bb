/// Marker in [`Call::extensions`](super::Call::extensions) of a layer above that retries, so that layers below do not.
///
/// Retries under retries multiply: three under three are nine calls for one request, just when the vendor has no room.
/// A layer that retries or fails over inserts it before it sends a call down. A layer that finds it
///
/// - does not *retry*: after a failure of a vendor or a connection, which may have been charged and may recur, it
///   returns the error;
/// - may *move* the call: after a refusal that costs nothing and concerns one key or group (wrong key, no money, no such
///   model, a rate limit), it may send the call to another one, which multiplies nothing.
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
