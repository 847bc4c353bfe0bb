/// Reasons why a stored value is a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CorruptEntry {
    /// It is no value of ours.
    Foreign,
    /// It is in a format that this version does not know.
    Newer,
    /// It was changed or truncated, it is under another name, or the store has another secret.
    Damaged,
    /// Its key is missing or another, or it is not sealed and should be.
    NoKey,
}
