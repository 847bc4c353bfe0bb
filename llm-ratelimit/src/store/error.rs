use std::path::PathBuf;

/// Error of opening, reading or writing a store of balances.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The scheme of the URL belongs to no store.
    #[error("{0:?} is no scheme of an address: use memory:, file:///path or redis://host?instances=4")]
    Scheme(String),
    /// The URL names a store that this build does not include.
    #[error("an address of scheme {scheme:?} needs the feature {feature:?} of llm-ratelimit: enable it")]
    Feature {
        /// Scheme of the URL.
        scheme: &'static str,
        /// Feature that must be enabled.
        feature: &'static str,
    },
    /// The URL names a server. A server holds the accounts themselves and is no store for copies of balances.
    #[error(
        "a server holds the accounts of all processes and no store of one: open the limiter at this address, with \
         LimiterBuilder::open"
    )]
    Server,
    /// The URL is malformed.
    #[error("{0}")]
    Url(&'static str),
    /// Another process, or another store of this one, has the file open.
    #[error("{} is in use: only one process at a time can have it open", .0.display())]
    InUse(PathBuf),
    /// The file cannot be opened, is damaged, or does not contain balances.
    #[error("cannot open {}: {message}", .path.display())]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the failure.
        message: String,
    },
    /// The file was written by a later version of this crate.
    #[error("{} has format {found}, and this version reads up to {known}: update it", .path.display())]
    Newer {
        /// Path of the file.
        path: PathBuf,
        /// Version of the file's format.
        found: u64,
        /// Latest version that this crate knows.
        known: u64,
    },
    /// Balances could not be read.
    #[error("cannot read a balance: {0}")]
    Read(String),
    /// Balances could not be written.
    #[error("cannot write balances: {0}")]
    Write(String),
    /// The persister is closed, or its thread has ended.
    #[error("the balance persister is closed")]
    Closed,
}
