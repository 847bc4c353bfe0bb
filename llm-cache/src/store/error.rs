//! Failures of stores.

use std::sync::Arc;

/// Failure of a store, with the tier (`file`, `redis`) and the reason.
///
/// ```
/// # #[cfg(feature = "file")]
/// # {
/// use llm_cache::{BuildError, Cache};
///
/// let error = Cache::builder("support").open("file:///no/such/directory/answers").unwrap_err();
/// assert!(matches!(&error, BuildError::Store(_)) && error.to_string().contains("/no/such/directory"), "{error}");
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cache's {tier} store: {reason}")]
pub struct StoreError {
    tier: &'static str,
    reason: Arc<str>,
}

#[cfg(feature = "at-rest")]
impl StoreError {
    pub(crate) fn new(tier: &'static str, reason: impl Into<Arc<str>>) -> Self {
        Self { tier, reason: reason.into() }
    }
}
