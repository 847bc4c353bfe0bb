/// Marker in [`Call::extensions`](super::Call::extensions) which says that a layer above retries the call, so that
/// layers below must not.
///
/// Retries of nested layers multiply: three attempts below three attempts are nine requests, just when the vendor is
/// overloaded. A layer that retries or fails over inserts the marker before it sends a call down. A layer that finds
/// the marker
///
/// - does not *retry*: after a failure of a vendor or a connection, which may have been charged and may recur, it
///   returns the error;
/// - may *move* the call: after a refusal that costs nothing and concerns one key or group (wrong key, no money, no
///   such model, a rate limit), it may send the call to another one, because such refusals do not multiply.
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
