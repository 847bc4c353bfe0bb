//! Errors of [`CacheBuilder::build`](crate::CacheBuilder::build). The message of each error states the setting to
//! change.

use crate::{StoreError, address::UrlError};

/// Reason why a cache cannot be built.
///
/// ```
/// use llm_cache::{BuildError, Cache};
///
/// let error = Cache::builder("support").variants(0).build().unwrap_err();
/// assert_eq!(error, BuildError::Variants);
/// assert!(error.to_string().contains("one or more"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The namespace is empty.
    #[error("the namespace is empty: name the service or the vendor whose responses are stored")]
    Namespace,
    /// A time to live is zero.
    #[error("a time to live of zero stores nothing: set a longer one, or leave the setting out")]
    Ttl,
    /// The capacity, or the size of the largest response to store, is less than 1 KiB, so that no entry fits.
    #[error("a capacity of less than 1024 bytes stores nothing: set a larger one, or leave the cache out")]
    Capacity,
    /// The number of variants (responses to one request) is zero.
    #[error("zero variants store nothing: set `variants` to one or more, or leave the cache out")]
    Variants,
    /// The number of concurrent background calls is zero.
    #[error("background calls need a slot: give `Background::new` one or more, or leave the background out")]
    Background,
    /// The cache spawns tasks, and is built outside a tokio runtime.
    #[error("a cache that spawns tasks must be built in a tokio runtime")]
    Runtime,
    /// The share of hits to verify is more than 100 percent.
    #[error("more than 100 percent of the hits cannot be verified: give `Verification::percent` at most 100")]
    Verification,
    /// The jitter is more than 100 percent.
    #[error("a jitter of more than 100 percent is more than the whole time to live")]
    Jitter,
    /// The URL of the store is wrong.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}
