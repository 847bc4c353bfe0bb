use std::path::PathBuf;

/// Error of a [`LedgerFile`](super::LedgerFile).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerFileError {
    /// The file cannot be used. It is left unchanged.
    #[error("the totals in {} cannot be read: {message}", path.display())]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// Cause and remedy.
        message: String,
    },
    /// The file was written by a later version of this crate. It is left unchanged.
    #[error("the totals in {} have the format {found} and this version reads up to {known}: update it", path.display())]
    Newer {
        /// Path of the file.
        path: PathBuf,
        /// Version of the file's format.
        found: u64,
        /// Latest version that this crate knows.
        known: u64,
    },
    /// This process or another one has the file open already.
    #[error("the totals in {} are in use by another process or ledger: give each a file of its own; \
             `Months::read` reads a file that is in use", path.display())]
    InUse {
        /// Path of the file.
        path: PathBuf,
    },
    /// Another process or person changed the file after it was opened. It is left unchanged.
    #[error("the totals in {} were changed by another process and are not overwritten: \
             give each process a file of its own, or move this one away and flush again", path.display())]
    Changed {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file could not be written. The unwritten accounts are kept for the next flush.
    #[error("{} cannot be written: {message}", path.display())]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the error.
        message: String,
    },
    /// The ledger already has a file.
    #[error("the ledger has a file already: make one ledger for each file")]
    LedgerInUse,
}
