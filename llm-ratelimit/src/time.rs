//! Wall clock, which is read once for every decision.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use llm_core::{Clock, SystemClock};

/// Source of the time.
#[derive(Debug)]
pub(crate) enum Time {
    /// Wall clock of the machine. Between two readings, the time is continued by a counter that is cheaper to read.
    Machine(Counted),
    /// Another clock, such as that of a test.
    Other(Arc<dyn Clock>),
}

/// Wall clock that is read anew every [`STRETCH`]. In between, the processor's counter gives the time that has passed.
#[derive(Debug)]
pub(crate) struct Counted {
    counter: quanta::Clock,
    /// Value of the counter that all other values are relative to.
    base: u64,
    /// Time of the counter at the latest reading of the wall clock, in nanoseconds since `base`.
    read_at: AtomicU64,
    /// Wall-clock time at `base`, in nanoseconds since 1970.
    offset: AtomicU64,
    /// True if the time goes back when the wall clock is set back. Otherwise the time continues from its latest value.
    goes_back: bool,
}

/// Time between two readings of the wall clock, in nanoseconds. A change of the clock is noticed after at most this
/// time.
const STRETCH: u64 = 10_000_000;

impl Time {
    pub(crate) fn of(clock: Option<Arc<dyn Clock>>) -> Self {
        clock.map_or_else(|| Self::Machine(Counted::new(true)), Self::Other)
    }

    /// Creates a machine clock whose time never goes back.
    #[cfg(feature = "redis")]
    pub(crate) fn forward() -> Self {
        Self::Machine(Counted::new(false))
    }

    /// Returns the time, in nanoseconds since 1970.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match self {
            Self::Machine(counted) => counted.now(),
            Self::Other(clock) => nanos(clock.now()),
        }
    }
}

impl Counted {
    fn new(goes_back: bool) -> Self {
        let counter = quanta::Clock::new();
        let base = counter.raw();
        let counted = Self { counter, base, read_at: AtomicU64::new(0), offset: AtomicU64::new(0), goes_back };
        counted.read(0);
        counted
    }

    fn now(&self) -> u64 {
        let passed = self.counter.delta_as_nanos(self.base, self.counter.raw());
        if passed.saturating_sub(self.read_at.load(Relaxed)) >= STRETCH {
            self.read(passed);
        }
        self.offset.load(Relaxed).saturating_add(passed)
    }

    fn read(&self, passed: u64) {
        // Threads that read the clock at the same time write nearly the same offset.
        let offset = nanos(SystemClock.now()).saturating_sub(passed);
        match self.goes_back {
            true => self.offset.store(offset, Relaxed),
            false => _ = self.offset.fetch_max(offset, Relaxed),
        }
        self.read_at.store(passed, Relaxed);
    }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_counter_agrees_with_wall_clock() {
        let counted = Counted::new(true);
        for _ in 0..10_000 {
            let (before, now, after) = (nanos(SystemClock.now()), counted.now(), nanos(SystemClock.now()));
            // The processor's counter is accurate enough between two readings. The tolerance allows for wall clocks
            // that are being adjusted.
            assert!(before < now + 1_000_000 && now < after + 1_000_000, "{before} {now} {after}");
        }
    }

    #[test]
    fn clock_set_is_noticed_within_ten_milliseconds() {
        let counted = ahead_until_set(true);
        assert!(counted.now() < nanos(SystemClock.now()) + HOUR / 2);
    }

    #[test]
    fn clock_set_back_leaves_forward_time() {
        let counted = ahead_until_set(false);
        assert!(counted.now() > nanos(SystemClock.now()) + HOUR / 2);
        // If the clock is set forward again, as after a suspension, the time follows it.
        counted.offset.store(0, Relaxed);
        counted.read_at.store(0, Relaxed);
        assert!(counted.now() > nanos(SystemClock.now()) - HOUR / 2);
    }

    const HOUR: u64 = 3_600_000_000_000;

    /// Returns a clock whose latest reading was an hour ahead of the wall clock, and which reads the wall clock anew at
    /// the next request of the time.
    fn ahead_until_set(goes_back: bool) -> Counted {
        let counted = Counted::new(goes_back);
        counted.offset.fetch_add(HOUR, Relaxed);
        assert!(counted.now() > nanos(SystemClock.now()) + HOUR / 2);
        // The base lies a second earlier, which is more than a stretch at any rate of the counter.
        Counted { base: counted.base.saturating_sub(1_000_000_000), ..counted }
    }
}
