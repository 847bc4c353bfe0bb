//! Sliding window of a minute that counts in slices. It reads no clock, because callers pass the time.
//!
//! A token bucket would admit twice the limit in its first minute, and a window of two halves would drop amounts too
//! early. Slices of a quarter of a second drop an amount at most half a second late.

use std::collections::VecDeque;

use crate::time::{MINUTE, Time};

/// Number of slices in the window. Fewer slices would keep amounts for longer, and more would take more memory.
const SLICES: u64 = 240;
const SLICE: Time = MINUTE / SLICES;

/// Amounts of the last minute, each in the slice in which its attempt was sent.
///
/// A slice leaves the window one slice length late, because the vendor counts an attempt when it arrives, and attempts
/// take different times to arrive. An idle window takes no memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    total: u64,
    /// Time until which no slice leaves the window.
    first_leaves: Time,
    slices: VecDeque<Slice>,
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    number: u64,
    amount: u64,
}

impl Window {
    /// Adds an amount, and returns the total. Slices outside of the window are dropped first, so that the window stays
    /// small even if its total is never read.
    pub(crate) fn add(&mut self, amount: u64, now: Time) -> u64 {
        self.total = self.total(now).saturating_add(amount);
        let number = now / SLICE;
        match self.slices.back_mut() {
            Some(last) if last.number >= number => last.amount = last.amount.saturating_add(amount),
            _ if amount > 0 => self.slices.push_back(Slice { number, amount }),
            _ => {}
        }
        self.total
    }

    /// Replaces the amount `from`, which was added at `added_at`, by the amount `to`, unless its slice has left the
    /// window.
    pub(crate) fn change(&mut self, added_at: Time, from: u64, to: u64) {
        let number = added_at / SLICE;
        let Ok(at) = self.slices.binary_search_by_key(&number, |slice| slice.number) else { return };
        let slice = &mut self.slices[at];
        let changed = slice.amount.saturating_add(to).saturating_sub(from);
        self.total = self.total.saturating_sub(slice.amount).saturating_add(changed);
        slice.amount = changed;
    }

    /// Returns the amount in the window.
    pub(crate) fn total(&mut self, now: Time) -> u64 {
        while self.first_leaves <= now
            && let Some(first) = self.slices.front()
        {
            self.first_leaves = leaves(first.number);
            if self.first_leaves > now {
                break;
            }
            self.total = self.total.saturating_sub(first.amount);
            self.slices.pop_front();
        }
        self.total
    }

    /// Returns the time at which `amount` will have left the window; `None` if the window holds less.
    pub(crate) fn frees(&self, amount: u64) -> Option<Time> {
        let mut left = 0_u64;
        self.slices.iter().find_map(|slice| {
            left = left.saturating_add(slice.amount);
            (left >= amount).then(|| leaves(slice.number))
        })
    }

    /// Adds the amounts of another window.
    pub(crate) fn absorb(&mut self, other: &Self) {
        for added in &other.slices {
            match self.slices.binary_search_by_key(&added.number, |slice| slice.number) {
                Ok(at) => self.slices[at].amount = self.slices[at].amount.saturating_add(added.amount),
                Err(at) => self.slices.insert(at, *added),
            }
        }
        self.total = self.total.saturating_add(other.total);
        self.first_leaves = 0;
    }
}

/// Returns the time at which a slice leaves the window.
fn leaves(number: u64) -> Time {
    number.saturating_add(2).saturating_mul(SLICE).saturating_add(MINUTE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::SECOND;

    proptest! {
        /// The window never counts less than an exact log of the amounts, and it counts each amount for at most two
        /// slices longer.
        #[test]
        fn window_counts_between_two_logs(steps in prop::collection::vec((0..4 * SECOND, 0_u64..9), 1..300)) {
            let (mut window, mut log, mut now) = (Window::default(), Vec::new(), 0);
            for (wait, amount) in steps {
                now += wait;
                log.push((now, amount));
                window.add(amount, now);
                let within = |length: Time| log.iter().filter(|(at, _)| at + length > now).map(|(_, amount)| amount).sum();
                let (least, most): (u64, u64) = (within(MINUTE), within(MINUTE + 2 * SLICE));
                let total = window.total(now);
                prop_assert!((least..=most).contains(&total), "{least} {total} {most}");
                if total > 0 {
                    let at = window.frees(total).unwrap();
                    let mut then = window.clone();
                    prop_assert_eq!((then.total(at - 1) > 0, then.total(at)), (true, 0));
                }
                prop_assert_eq!(window.frees(total + 1), None);
            }
        }

        #[test]
        fn window_change_equals_adding_another_amount(steps in prop::collection::vec((0..2 * SECOND, 0_u64..9, 0_u64..9), 1..99)) {
            let (mut changed, mut added, mut now) = (Window::default(), Window::default(), 0);
            for (wait, from, to) in steps {
                now += wait;
                changed.add(from, now);
                changed.change(now, from, if from == 0 { 0 } else { to });
                added.add(if from == 0 { 0 } else { to }, now);
                prop_assert_eq!(changed.total(now), added.total(now));
            }
        }
    }

    #[test]
    fn window_of_adds_alone_is_bounded() {
        let mut window = Window::default();
        for second in 0..100_000 {
            window.add(1, second * SECOND);
        }
        assert!(window.slices.len() as u64 <= SLICES + 2, "{}", window.slices.len());
    }

    #[test]
    fn window_absorb_adds_slice_by_slice() {
        let (mut one, mut other) = (Window::default(), Window::default());
        one.add(1, 0);
        one.add(2, 30 * SECOND);
        other.add(4, 30 * SECOND);
        one.absorb(&other);
        assert_eq!((one.total(30 * SECOND), one.total(61 * SECOND), one.total(91 * SECOND)), (7, 6, 0));
    }
}
