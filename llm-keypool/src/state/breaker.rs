//! Breaker of a member, which opens after failures of the vendor or the connection.

use crate::time::{SECOND, Time};

/// Breaker over the outcomes of the last thirty seconds, which are counted in slices of five seconds.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    in_a_row: u32,
    slices: [Slice; SLICES as usize],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    number: u32,
    all: u32,
    failed: u32,
}

const SLICE: Time = 5 * SECOND;
const SLICES: u32 = 6;
/// Number of consecutive failures that opens the breaker.
const IN_A_ROW: u32 = 5;
/// Smallest number of outcomes at which the breaker opens if half of them are failures.
const FEWEST: u32 = 20;

impl Breaker {
    /// Counts a response. A refusal also counts as a response, because it shows that the vendor is reachable.
    pub(crate) fn responded(&mut self, now: Time) {
        self.in_a_row = 0;
        self.slice(now).all += 1;
    }

    /// Counts a failure. Returns `true` if the failure opens the breaker.
    pub(crate) fn failed(&mut self, now: Time) -> bool {
        self.in_a_row += 1;
        let slice = self.slice(now);
        (slice.all, slice.failed) = (slice.all + 1, slice.failed + 1);
        let number = slice.number;
        let recent = self.slices.iter().filter(|slice| number - slice.number < SLICES);
        let (all, failed) = recent.fold((0, 0), |(all, failed), slice| (all + slice.all, failed + slice.failed));
        self.in_a_row >= IN_A_ROW || (all >= FEWEST && failed * 2 >= all)
    }

    /// Returns the slice that contains `now`, after replacing an older slice in its place.
    fn slice(&mut self, now: Time) -> &mut Slice {
        let number = (now / SLICE) as u32;
        let slice = &mut self.slices[(number % SLICES) as usize];
        if slice.number != number {
            *slice = Slice { number, ..Slice::default() };
        }
        slice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaker_opens_after_five_consecutive_failures() {
        let mut breaker = Breaker::default();
        assert!((0..4).all(|_| !breaker.failed(0)));
        breaker.responded(0);
        assert!((0..4).all(|_| !breaker.failed(0)));
        assert!(breaker.failed(0));
    }

    #[test]
    fn breaker_opens_when_half_of_twenty_fail() {
        let mut breaker = Breaker::default();
        for second in 0..9 {
            breaker.responded(second * SECOND);
            assert!(!breaker.failed(second * SECOND));
        }
        breaker.responded(10 * SECOND);
        assert!(breaker.failed(10 * SECOND));
        let mut breaker = Breaker::default();
        for second in 0..200 {
            breaker.responded(second * SECOND * 4);
            assert!(!breaker.failed(second * SECOND * 4), "fewer than twenty in thirty seconds");
        }
    }
}
