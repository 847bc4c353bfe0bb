use std::path::PathBuf;

/// Errors of a [`LedgerFile`](super::LedgerFile).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerFileError {
    /// The file cannot be used. It is left as it is.
    #[error("the totals in {} cannot be read: {message}", path.display())]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// Cause and remedy.
        message: String,
    },
    /// The file is of a later version of this crate. It is left as it is.
    #[error("the totals in {} have the format {found} and this version reads up to {known}: update it", path.display())]
    Newer {
        /// Path of the file.
        path: PathBuf,
        /// Format of the file.
        found: u64,
        /// Latest known format.
        known: u64,
    },
    /// Another process, or this one, has the file open.
    #[error("the totals in {} are in use by another process or ledger: give each a file of its own; \
             `Months::read` reads a file that is in use", path.display())]
    InUse {
        /// Path of the file.
        path: PathBuf,
    },
    /// Another process or person changed the file after it was opened. It is left as it is.
    #[error("the totals in {} were changed by another process and are not overwritten: \
             give each process a file of its own, or move this one away and flush again", path.display())]
    Changed {
        /// Path of the file.
        path: PathBuf,
    },
    /// The disk refused the write. Its content is kept for the next flush.
    #[error("{} cannot be written: {message}", path.display())]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        message: String,
    },
    /// The ledger has a file.
    #[error("the ledger has a file already: make one ledger for each file")]
    LedgerInUse,
}
