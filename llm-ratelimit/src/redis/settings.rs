//! Settings that the parts of the accounts share.

use std::{fmt, sync::Arc, time::Duration};

use super::outage::{OutagePolicy, default_policy};
use crate::Limit;

/// Policies of limits for outages.
pub(super) type Policy = Arc<dyn Fn(&Limit) -> OutagePolicy + Send + Sync>;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) lease: Duration,
    pub(super) decision_timeout: Duration,
    pub(super) outbox: usize,
    pub(super) policy: Policy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            decision_timeout: Duration::from_millis(500),
            outbox: 8_192,
            policy: Arc::new(default_policy),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("lease", &self.lease).finish_non_exhaustive()
    }
}
