//! Reasons why a stored value counts as corrupt.

/// Reasons why a stored value is a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CorruptEntry {
    /// The value was not written by this crate.
    Foreign,
    /// The entry is in a format that this version does not know.
    Newer,
    /// The entry was changed or truncated, it is under another name, or the store has another secret.
    Damaged,
    /// Its key is missing or another, or it is not sealed and should be.
    NoKey,
}
