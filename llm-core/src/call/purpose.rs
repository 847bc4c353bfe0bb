/// A marker in [`Call::extensions`](super::Call::extensions): nobody waits for the answer to this call, and what it costs
/// is an overhead of its own. Calls without it are made for somebody who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// To replace a stored answer that is past its time.
    Revalidation,
    /// To see whether a stored answer is still the one that would be given.
    Verification,
}
