/// Marker in [`Call::extensions`](super::Call::extensions) of a call without a caller, which a layer made on its own.
///
/// A ledger books its cost as wasted spend, with the purpose as the cause.
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
    /// Replaces an expired entry.
    Revalidation,
    /// Compares an entry with a new response.
    Verification,
}
