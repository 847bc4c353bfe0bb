//! The wall clock in nanoseconds.

use std::{sync::Arc, time::UNIX_EPOCH};

use llm_core::{Clock, SystemClock};

/// The wall clock, read once for every decision.
#[derive(Debug)]
pub(crate) struct Time(Arc<dyn Clock>);

impl Time {
    pub(crate) fn of(clock: Option<Arc<dyn Clock>>) -> Self {
        Self(clock.unwrap_or_else(|| Arc::new(SystemClock)))
    }

    /// Nanoseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        let since = self.0.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_secs().saturating_mul(1_000_000_000).saturating_add(since.subsec_nanos().into())
    }
}
