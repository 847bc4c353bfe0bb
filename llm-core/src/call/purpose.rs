/// Marker in [`Call::extensions`](super::Call::extensions) of a call that a layer makes on its own, without a caller
/// that waits for it.
///
/// A ledger records the call's cost as wasted spend, with the purpose as the cause.
///
/// ```
/// use llm_core::{Call, layer::Purpose};
///
/// let mut call = Call::new("acme", "a request");
/// call.extensions.insert(Purpose::Revalidation);
/// assert_eq!(call.extensions.get(), Some(&Purpose::Revalidation));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// The call replaces an expired cache entry.
    Revalidation,
    /// The call compares a cache entry with a new response.
    Verification,
}
