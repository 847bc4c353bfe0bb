//! Token bucket that takes back unused amounts. It reads no clock: callers pass the time.

/// Current drain rate and capacity of a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Amount that drains in a period.
    pub(crate) amount: u64,
    /// Period in nanoseconds.
    pub(crate) period: u64,
    /// Largest amount that the bucket holds.
    pub(crate) burst: u64,
}

/// Bucket to which taken amounts are added, and which drains at the quota's rate, first in, first out. A call gives
/// back only the part of its amount that has not drained yet, because other calls could otherwise take the same room
/// twice.
///
/// All volumes are amounts multiplied by the period in nanoseconds, so that the volume which drains in a nanosecond is
/// an integer at every rate. The period of a counter never changes, but its amount and burst may change.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(8))]
pub(crate) struct Bucket {
    level: u128,
    /// Total volume that has left the bucket, by draining or because calls returned it.
    left: u128,
    at: u64,
    amount: u64,
    period: u64,
}

/// Position of a call's amount in the sum of all amounts ever added to a bucket. For a calendar window, the mark is the
/// end of the window.
#[derive(Clone, Copy, Debug, Default)]
#[repr(Rust, packed(8))]
pub(crate) struct Mark(u128);

/// Volume in a bucket: an amount multiplied by the period in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(Rust, packed(8))]
pub(crate) struct Volume(u128);

/// Largest step back of the clock, in nanoseconds, that is explained by threads which read the clock one after the
/// other. After a larger step the clock must have been set back.
const SKEW: u64 = 1_000_000_000;

impl From<u64> for Mark {
    fn from(mark: u64) -> Self {
        Self(mark.into())
    }
}

impl From<Mark> for u64 {
    fn from(Mark(mark): Mark) -> Self {
        Self::try_from(mark).unwrap_or(Self::MAX)
    }
}

impl Bucket {
    pub(crate) fn new(rate: Rate, now: u64) -> Self {
        Self { level: 0, left: 0, at: now, amount: rate.amount, period: rate.period }
    }

    /// Creates a bucket that contains a volume, which is an amount multiplied by the period.
    #[cfg(feature = "redis")]
    pub(crate) fn of_volume(level: u128, rate: Rate, now: u64) -> Self {
        Self { level, ..Self::new(rate, now) }
    }

    /// Drains the bucket until `now` at the old rate, and sets the new rate.
    pub(crate) fn drain(&mut self, rate: Rate, now: u64) {
        self.flow(now);
        self.amount = rate.amount;
    }

    /// Returns the nanoseconds until `n` fits if no other call takes anything before: 0 if `n` fits now, and `None` if
    /// it never fits.
    pub(crate) fn wait(&self, rate: Rate, n: u64) -> Option<u64> {
        if n > rate.burst {
            return None;
        }
        let over = self.level.saturating_add(self.scale(n)).saturating_sub(self.scale(rate.burst));
        Some(u64::try_from(over.div_ceil(rate.amount.into())).unwrap_or(u64::MAX))
    }

    /// Returns `true` if `n` fits now.
    pub(crate) fn fits(&self, rate: Rate, n: u64) -> bool {
        self.level.saturating_add(self.scale(n)) <= self.scale(rate.burst)
    }

    /// Takes an amount of `n`, even if it does not fit. Returns the mark for [`give_back`](Self::give_back).
    pub(crate) fn take(&mut self, n: u64) -> Mark {
        let mark = Mark(self.left.saturating_add(self.level));
        self.level = self.level.saturating_add(self.scale(n));
        mark
    }

    /// Gives back the part `n` of the amount `taken`, as far as this part has not drained yet.
    pub(crate) fn give_back(&mut self, mark: Mark, taken: u64, n: u64, now: u64) {
        self.flow(now);
        let Mark(mark) = mark;
        let end = mark.saturating_add(self.scale(taken));
        let still = end.saturating_sub(self.left.max(mark));
        let back = self.scale(n).min(still).min(self.level);
        self.level -= back;
        // Amounts that were taken later move forward by the same volume. For amounts taken earlier, `give_back` may
        // return too little, but never too much.
        self.left = self.left.saturating_add(back);
    }

    /// Takes `n` in addition, for a call that used more than it had reserved.
    pub(crate) fn charge(&mut self, n: u64, now: u64) {
        self.flow(now);
        self.level = self.level.saturating_add(self.scale(n));
    }

    pub(crate) fn volume(&self) -> Volume {
        Volume(self.level)
    }

    /// Empties the bucket, as if all of its content had drained.
    pub(crate) fn forget(&mut self) {
        self.left = self.left.saturating_add(self.level);
        self.level = 0;
    }

    pub(crate) fn is_empty_at(&self, now: u64) -> bool {
        let mut then = *self;
        then.flow(now);
        then.level == 0
    }

    fn flow(&mut self, now: u64) {
        let passed = match now.checked_sub(self.at) {
            Some(passed) => passed,
            None if self.at - now < SKEW => return,
            None => 0,
        };
        self.at = now;
        let drained = (u128::from(passed) * u128::from(self.amount)).min(self.level);
        self.level -= drained;
        self.left = self.left.saturating_add(drained);
    }

    fn scale(&self, n: u64) -> u128 {
        u128::from(n) * u128::from(self.period)
    }
}

impl Volume {
    /// Returns the amount that the volume stands for, rounded up.
    pub(crate) fn amount(self, rate: Rate) -> u64 {
        let Self(volume) = self;
        u64::try_from(volume.div_ceil(rate.period.into())).unwrap_or(u64::MAX)
    }

    /// Returns the nanoseconds until the whole volume has drained.
    pub(crate) fn drains_in(self, rate: Rate) -> u64 {
        let Self(volume) = self;
        u64::try_from(volume.div_ceil(rate.amount.max(1).into())).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use governor::{Quota, RateLimiter, clock::FakeRelativeClock};
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn cells(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).expect("not zero")
    }

    proptest! {
        /// Governor keeps the time of one cell in whole nanoseconds, so only rates that divide a minute are compared.
        #[test]
        fn bucket_decides_as_governor_does(
            each in prop::sample::select(vec![1u64, 2, 3, 6, 10, 60, 600, 60_000]),
            burst in 1u32..200,
            steps in prop::collection::vec((0u64..20_000_000_000, 1u32..30), 1..80),
        ) {
            let rate = Rate { amount: each, period: 60 * SECOND, burst: burst.into() };
            let clock = FakeRelativeClock::default();
            let cell = Duration::from_nanos(60 * SECOND / each);
            let quota = Quota::with_period(cell).expect("not zero").allow_burst(cells(burst));
            let oracle = RateLimiter::direct_with_clock(quota, clock.clone());
            // For governor, a time of zero means that no cell was taken yet, so the test begins later.
            let mut now = 1;
            clock.advance(Duration::from_nanos(1));
            let mut bucket = Bucket::new(rate, now);
            for (step, n) in steps {
                now += step;
                clock.advance(Duration::from_nanos(step));
                bucket.drain(rate, now);
                let theirs = match oracle.check_n(cells(n)) {
                    Ok(Ok(())) => Some(0),
                    Ok(Err(until)) => {
                        let now = governor::clock::Clock::now(&clock);
                        Some(u64::try_from(until.wait_time_from(now).as_nanos()).expect("short"))
                    }
                    Err(_) => None,
                };
                prop_assert_eq!(bucket.wait(rate, n.into()), theirs);
                prop_assert_eq!(bucket.fits(rate, n.into()), theirs == Some(0));
                if theirs == Some(0) {
                    bucket.take(n.into());
                }
            }
        }

        /// The level is never lower than that of a bucket from which every call takes the amount that it really uses at
        /// once.
        #[test]
        fn bucket_never_returns_drained_amounts(
            steps in prop::collection::vec((0u64..30 * SECOND, 1u64..100, 0u64..150, 0usize..4), 1..60),
        ) {
            let rate = Rate { amount: 60, period: 60 * SECOND, burst: 100 };
            let mut bucket = Bucket::new(rate, 0);
            let (mut now, mut open, mut log) = (0, Vec::new(), Vec::new());
            for (step, n, used, settle) in steps {
                now += step;
                bucket.drain(rate, now);
                if bucket.fits(rate, n) {
                    open.push((log.len(), bucket.take(n), n, used));
                    log.push((now, n));
                }
                for _ in 0..settle.min(open.len()) {
                    let (at, mark, n, used) = open.remove(settle % open.len());
                    if used <= n {
                        bucket.give_back(mark, n, n - used, now);
                        log[at].1 = used;
                    } else {
                        bucket.charge(used - n, now);
                        log.push((now, used - n));
                    }
                }
                // A second bucket takes the amounts that were really used, at the original times.
                let mut hindsight = Bucket::new(rate, 0);
                for (at, n) in &log {
                    hindsight.drain(rate, *at);
                    hindsight.take(*n);
                }
                hindsight.drain(rate, now);
                let (level, least) = (bucket.level, hindsight.level);
                prop_assert!(level >= least, "{level} < {least}");
            }
        }
    }

    #[test]
    fn bucket_refund_at_once_is_whole() {
        let rate = Rate { amount: 10, period: SECOND, burst: 10 };
        let mut bucket = Bucket::new(rate, 0);
        let first = bucket.take(6);
        bucket.take(4);
        bucket.give_back(first, 6, 5, 0);
        assert_eq!((bucket.volume().amount(rate), bucket.wait(rate, 6)), (5, Some(SECOND / 10)));
    }

    #[test]
    fn bucket_refund_after_drain_is_nothing() {
        let rate = Rate { amount: 10, period: SECOND, burst: 10 };
        let mut bucket = Bucket::new(rate, 0);
        let old = bucket.take(10);
        bucket.drain(rate, SECOND);
        bucket.take(10);
        bucket.give_back(old, 10, 10, SECOND);
        assert!(!bucket.fits(rate, 1), "it would be 20 of 10 at one moment");
    }

    #[test]
    fn bucket_survives_clock_set_back() {
        let rate = Rate { amount: 1, period: SECOND, burst: 1 };
        let mut bucket = Bucket::new(rate, 1_000 * SECOND);
        bucket.take(1);
        bucket.drain(rate, 1_000 * SECOND - 5);
        assert_eq!(bucket.wait(rate, 1), Some(SECOND), "another thread was late");
        bucket.drain(rate, 10 * SECOND);
        assert_eq!(bucket.wait(rate, 1), Some(SECOND), "the clock was set back");
        bucket.drain(rate, 11 * SECOND);
        assert!(bucket.fits(rate, 1));
    }

    #[test]
    fn bucket_largest_amounts_do_not_overflow() {
        let rate = Rate { amount: u64::MAX, period: 366 * 86_400 * SECOND, burst: u64::MAX };
        let mut bucket = Bucket::new(rate, 0);
        let mark = bucket.take(u64::MAX);
        for _ in 0..100_000 {
            bucket.charge(u64::MAX, 0);
        }
        bucket.drain(rate, u64::MAX);
        bucket.give_back(mark, u64::MAX, u64::MAX, u64::MAX);
        assert!(bucket.wait(rate, 1).is_some());
    }
}
