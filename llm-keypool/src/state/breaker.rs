//! Breaker of a member: opens after failures of the vendor or the connection.

use crate::{
    time::{SECOND, Time},
    window::Window,
};

/// Outcomes of the last thirty seconds.
#[derive(Debug)]
pub(crate) struct Breaker {
    in_a_row: u32,
    all: Window,
    failed: Window,
}

const LENGTH: Time = 30 * SECOND;
/// Failures in a row that open it.
const IN_A_ROW: u32 = 5;
/// Fewest outcomes of which half failures open it.
const FEWEST: u64 = 20;

impl Default for Breaker {
    fn default() -> Self {
        Self { in_a_row: 0, all: Window::new(LENGTH), failed: Window::new(LENGTH) }
    }
}

impl Breaker {
    /// Counts a response, also a refusal: the vendor is there.
    pub(crate) fn responded(&mut self, now: Time) {
        self.in_a_row = 0;
        self.all.add(1, now);
    }

    /// Counts a failure. Returns `true` if the breaker is to open.
    pub(crate) fn failed(&mut self, now: Time) -> bool {
        self.in_a_row += 1;
        self.all.add(1, now);
        self.failed.add(1, now);
        let (all, failed) = (self.all.total(now), self.failed.total(now));
        self.in_a_row >= IN_A_ROW || (all >= FEWEST && failed * 2 >= all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaker_opens_after_five_failures_in_a_row() {
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
