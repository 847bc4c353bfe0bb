//! Watchdog for writes to the store that take too long.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Due time of the running write. It is measured in real time even in tests with a paused clock, because a disk takes
/// real time.
pub(crate) struct FlushWatchdog {
    base: Instant,
    /// Due time, in nanoseconds since the base; `u64::MAX` if no write runs.
    due: AtomicU64,
}

impl FlushWatchdog {
    /// Starts to watch a write that must end `within` this time. The repetition of a failed write keeps the earlier due
    /// time.
    pub(crate) fn begin(&self, within: Duration) {
        let due = self.now().saturating_add(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX));
        self.due.fetch_min(due, Relaxed);
    }

    /// Stops watching until the next write begins, because every balance has been written.
    pub(crate) fn end(&self) {
        self.due.store(u64::MAX, Relaxed);
    }

    /// Reports from now on that a write is late, because the writing thread has ended, and no later change is stored.
    pub(crate) fn stop(&self) {
        self.due.store(0, Relaxed);
    }

    pub(crate) fn is_late(&self) -> bool {
        let due = self.due.load(Relaxed);
        due != u64::MAX && self.now() > due
    }

    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Default for FlushWatchdog {
    #[expect(clippy::disallowed_methods, reason = "it measures real time, which no test pauses")]
    fn default() -> Self {
        Self { base: Instant::now(), due: AtomicU64::new(u64::MAX) }
    }
}

impl fmt::Debug for FlushWatchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulse").field("is_late", &self.is_late()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flush_watchdog_reports_late_write_until_end() {
        let flush_watchdog = FlushWatchdog::default();
        assert!(!flush_watchdog.is_late());
        flush_watchdog.begin(Duration::from_secs(3_600));
        assert!(!flush_watchdog.is_late());
        flush_watchdog.begin(Duration::ZERO);
        flush_watchdog.begin(Duration::from_secs(3_600));
        assert!(flush_watchdog.is_late(), "a second try has no more time than the first");
        flush_watchdog.end();
        assert!(!flush_watchdog.is_late());
        flush_watchdog.stop();
        assert!(flush_watchdog.is_late());
    }
}
