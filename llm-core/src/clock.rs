use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Source of wall time, for expiry and calendar windows. Layers that wait use tokio's timers and not this clock.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the time now.
    fn now(&self) -> SystemTime;
}

/// Clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that stands still until it is moved. Clones show the same time.
///
/// ```
/// use std::time::Duration;
/// use llm_core::{Clock, ManualClock};
///
/// let clock = ManualClock::at_unix(1_700_000_000);
/// let before = clock.now();
/// clock.advance(Duration::from_secs(7 * 24 * 3600));
/// assert_eq!(clock.now().duration_since(before)?.as_secs(), 604_800);
/// # Ok::<_, std::time::SystemTimeError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Creates a clock that shows the time `seconds` seconds after 1970 began (UTC).
    pub fn at_unix(seconds: u64) -> Self {
        let clock = Self::default();
        clock.set_unix(Duration::from_secs(seconds));
        clock
    }

    /// Sets the time to `time` after 1970 began (UTC), in whole microseconds. The clock may move forward or back.
    pub fn set_unix(&self, time: Duration) {
        self.0.store(micros(time), Ordering::SeqCst);
    }

    /// Moves the clock forward by a duration, in whole microseconds.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(micros(by), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0.load(Ordering::SeqCst))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
