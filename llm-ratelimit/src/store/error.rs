use std::path::PathBuf;

/// Error of opening, reading or writing a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The URL has a scheme that no store has.
    #[error("{0:?} is no scheme of an address: use memory:, file:///path or redis://host?instances=4")]
    Scheme(String),
    /// The URL names a store that this build does not have.
    #[error("an address of scheme {scheme:?} needs the feature {feature:?} of llm-ratelimit: enable it")]
    Feature {
        /// The scheme.
        scheme: &'static str,
        /// The feature to be enabled.
        feature: &'static str,
    },
    /// The URL names a server, which holds the accounts themselves and no copies of balances.
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
    /// The file cannot be opened, is damaged, or holds no balances.
    #[error("cannot open {}: {message}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        message: String,
    },
    /// The file was written by a version of this crate that came after this one.
    #[error("{} has format {found}, and this version reads up to {known}: update it", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Format of the file.
        found: u64,
        /// The latest format that is known here.
        known: u64,
    },
    /// A balance cannot be read.
    #[error("cannot read a balance: {0}")]
    Read(String),
    /// Balances cannot be written.
    #[error("cannot write balances: {0}")]
    Write(String),
    /// The persister is closed, or its thread has ended.
    #[error("the balance persister is closed")]
    Closed,
}
