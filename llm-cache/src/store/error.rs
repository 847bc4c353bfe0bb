//! Failures of stores.

use std::sync::Arc;

/// Failure of a store: its tier, and the reason.
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
