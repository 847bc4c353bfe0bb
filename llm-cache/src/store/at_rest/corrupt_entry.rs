//! Reasons why a stored value is corrupt.

/// Reason why a stored value is corrupt. A lookup that finds a corrupt value is a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CorruptEntry {
    /// The value was not written by this crate.
    Foreign,
    /// The entry is in a format that this version does not know.
    Newer,
    /// The entry was changed or truncated, is stored under another name, or was written with another secret.
    Damaged,
    /// The encryption key of the entry is missing or wrong, or the entry is not sealed although the cache has
    /// encryption keys.
    NoKey,
}
