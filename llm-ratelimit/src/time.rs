//! The wall clock, read once for every decision.

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
    /// The machine's wall clock, continued by a counter that is cheaper to read.
    Machine(Counted),
    /// Time of another clock, such as one of a test.
    Other(Arc<dyn Clock>),
}

/// The wall clock is read anew every [`STRETCH`]; in between, the processor's counter tells how much has passed.
#[derive(Debug)]
pub(crate) struct Counted {
    counter: quanta::Clock,
    base: quanta::Instant,
    /// Counter at the last reading of the wall clock, in nanoseconds since the base.
    read_at: AtomicU64,
    /// The wall clock's time at the base, in nanoseconds since 1970.
    offset: AtomicU64,
}

/// Longest time until a change of the wall clock is noticed, in nanoseconds.
const STRETCH: u64 = 10_000_000;

impl Time {
    pub(crate) fn of(clock: Option<Arc<dyn Clock>>) -> Self {
        clock.map_or_else(|| Self::Machine(Counted::new()), Self::Other)
    }

    /// Nanoseconds since 1970.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match self {
            Self::Machine(counted) => counted.now(),
            Self::Other(clock) => nanos(clock.now()),
        }
    }
}

impl Counted {
    fn new() -> Self {
        let counter = quanta::Clock::new();
        let base = counter.now();
        let counted = Self { counter, base, read_at: AtomicU64::new(0), offset: AtomicU64::new(0) };
        counted.read(0);
        counted
    }

    fn now(&self) -> u64 {
        let passed = self.counter.now().duration_since(self.base);
        let passed = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        if passed.saturating_sub(self.read_at.load(Relaxed)) >= STRETCH {
            self.read(passed);
        }
        self.offset.load(Relaxed).saturating_add(passed)
    }

    fn read(&self, passed: u64) {
        // Threads that read at one time write the same, as near as they can tell.
        self.offset.store(nanos(SystemClock.now()).saturating_sub(passed), Relaxed);
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
        let counted = Counted::new();
        for _ in 0..10_000 {
            let (before, now, after) = (nanos(SystemClock.now()), counted.now(), nanos(SystemClock.now()));
            // A processor's counter is as exact as that over a stretch; the rest is for wall clocks that are being set.
            assert!(before < now + 1_000_000 && now < after + 1_000_000, "{before} {now} {after}");
        }
    }

    #[test]
    fn clock_set_is_noticed_within_ten_milliseconds() {
        let counted = Counted::new();
        let hour = 3_600_000_000_000;
        counted.offset.fetch_add(hour, Relaxed);
        assert!(counted.now() > nanos(SystemClock.now()) + hour / 2);
        // Sets the clock as if the stretch had passed.
        let old = Counted { base: counted.base - std::time::Duration::from_secs(1), ..counted };
        assert!(old.now() < nanos(SystemClock.now()) + hour / 2);
    }
}
