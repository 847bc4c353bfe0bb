//! Settings that all parts of the accounts in Redis use.

use std::{fmt, sync::Arc, time::Duration};

use super::outage::{OutagePolicy, default_policy};
use crate::Limit;

/// Function that chooses which limits of which tenants are decided from chunks.
pub(super) type IsChunked = Arc<dyn Fn(&Limit, &str) -> bool + Send + Sync>;

/// Function that chooses the policy of a limit during an outage.
pub(super) type Policy = Arc<dyn Fn(&Limit) -> OutagePolicy + Send + Sync>;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) lease: Duration,
    pub(super) decision_timeout: Duration,
    pub(super) outbox: usize,
    pub(super) policy: Policy,
    pub(super) is_chunked: IsChunked,
    /// Number of equal parts of the free amount, of which each process gets one as its chunk.
    pub(super) parts: u64,
    /// True if all accounts share one hash tag, so that one script decides by all of them. Tests use it to compare each
    /// decision.
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
