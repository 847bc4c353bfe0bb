//! Settings that the parts of the accounts share.

use std::{fmt, sync::Arc, time::Duration};

use super::outage::{OutagePolicy, default_policy};
use crate::Limit;

/// Limits of tenants that are decided from chunks.
pub(super) type IsChunked = Arc<dyn Fn(&Limit, &str) -> bool + Send + Sync>;

/// Policies of limits for outages.
pub(super) type Policy = Arc<dyn Fn(&Limit) -> OutagePolicy + Send + Sync>;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) lease: Duration,
    pub(super) decision_timeout: Duration,
    pub(super) outbox: usize,
    pub(super) policy: Policy,
    pub(super) is_chunked: IsChunked,
    /// Number of parts of what is free, of which a process gets one as its chunk.
    pub(super) parts: u64,
    /// True if one script decides by all accounts, as tests need it that compare each decision.
    pub(super) has_one_tag: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            decision_timeout: Duration::from_millis(500),
            outbox: 8_192,
            policy: Arc::new(default_policy),
            is_chunked: Arc::new(|_, _| false),
            parts: 2,
            has_one_tag: false,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("lease", &self.lease).finish_non_exhaustive()
    }
}
