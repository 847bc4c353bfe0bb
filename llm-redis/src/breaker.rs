//! When not to ask at all: decided from results and the time, which it is told.

use std::time::Duration;

use tokio::time::Instant;

use crate::Error;

/// Refuses calls while the server is away, so that an outage costs a probe now and then, and no caller's time.
///
/// Closed, it counts failures in a row. A call that runs out of time is only a suspicion, since callers differ in how long
/// they wait; a question of the keeper's own decides. Open, it refuses all calls until a probe succeeds; there is one probe
/// at a time, after pauses that double.
pub(crate) struct Breaker {
    rules: Rules,
    state: State,
}

#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// How many failures in a row open it.
    pub(crate) threshold: u32,
    /// The pause before the first probe.
    pub(crate) first_pause: Duration,
    /// The longest pause.
    pub(crate) most_pause: Duration,
    /// What this process makes its pauses shorter by, in 1/256: a fleet that probes in step is a burst.
    pub(crate) jitter: u8,
}

enum State {
    Closed {
        failures: u32,
        /// A call ran out of time, and nothing was answered since.
        suspected: bool,
    },
    Open {
        cause: Error,
        probes: u32,
        due: Instant,
    },
    Probing {
        cause: Error,
        probes: u32,
    },
}

impl Breaker {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, state: State::CLOSED }
    }

    /// Whether a call may go out; otherwise why not, and when it is worth asking again.
    pub(crate) fn check(&self, now: Instant) -> Result<(), Error> {
        match &self.state {
            State::Closed { .. } => Ok(()),
            State::Open { cause, due, .. } => Err(Error::open(cause, due.saturating_duration_since(now))),
            State::Probing { cause, .. } => Err(Error::open(cause, Duration::ZERO)),
        }
    }

    /// A call was answered.
    pub(crate) fn succeeded(&mut self) {
        if let State::Closed { .. } = self.state {
            self.state = State::CLOSED;
        }
    }

    /// A call that was sent got no answer in its time. Returns whether nothing was suspected before.
    pub(crate) fn timed_out(&mut self) -> bool {
        match &mut self.state {
            State::Closed { suspected, .. } => !std::mem::replace(suspected, true),
            State::Open { .. } | State::Probing { .. } => false,
        }
    }

    /// Returns whether the server is to be asked if it is there.
    pub(crate) fn is_suspected(&self) -> bool {
        matches!(self.state, State::Closed { suspected: true, .. })
    }

    /// The server is there, whatever else may be wrong.
    pub(crate) fn cleared(&mut self) {
        if let State::Closed { suspected, .. } = &mut self.state {
            *suspected = false;
        }
    }

    /// The server did not answer the question that a suspicion led to. Returns whether that opened it.
    pub(crate) fn silent(&mut self, now: Instant, cause: &Error) -> bool {
        self.is_suspected() && self.trip(now, cause)
    }

    /// A call failed as calls do when the server is away. Tells whether that opened it.
    pub(crate) fn failed(&mut self, now: Instant, cause: &Error) -> bool {
        match &mut self.state {
            State::Closed { failures, .. } => *failures += 1,
            // Those still on their way when it opened.
            State::Open { .. } | State::Probing { .. } => return false,
        }
        match self.state {
            State::Closed { failures, .. } if failures >= self.rules.threshold => self.trip(now, cause),
            _ => false,
        }
    }

    /// The server is known to be away; of a probe: it failed. Tells whether that opened it.
    pub(crate) fn trip(&mut self, now: Instant, cause: &Error) -> bool {
        let probes = match &self.state {
            State::Closed { .. } => 0,
            State::Open { .. } => return false,
            State::Probing { probes, .. } => probes + 1,
        };
        let due = now + self.rules.pause(probes);
        self.state = State::Open { cause: cause.clone(), probes, due };
        probes == 0
    }

    /// Takes the probe, if one is due.
    pub(crate) fn take_probe(&mut self, now: Instant) -> bool {
        match &self.state {
            State::Open { cause, probes, due } if *due <= now => {
                self.state = State::Probing { cause: cause.clone(), probes: *probes };
                true
            }
            _ => false,
        }
    }

    /// The server is back. Tells whether it was away.
    pub(crate) fn close(&mut self) -> bool {
        let was_open = !matches!(self.state, State::Closed { .. });
        self.state = State::CLOSED;
        was_open
    }

    /// When the next probe is due; `None` if it is closed or probing.
    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Open { due, .. } => Some(*due),
            _ => None,
        }
    }

    /// Why it is open.
    pub(crate) fn cause(&self) -> Option<&Error> {
        match &self.state {
            State::Closed { .. } => None,
            State::Open { cause, .. } | State::Probing { cause, .. } => Some(cause),
        }
    }
}

impl State {
    const CLOSED: Self = Self::Closed { failures: 0, suspected: false };
}

impl Rules {
    /// The pause before a probe after so many failed ones: doubling, bounded, up to a half shorter by the jitter.
    fn pause(&self, probes: u32) -> Duration {
        let pause = self.first_pause.saturating_mul(1 << probes.min(20)).min(self.most_pause);
        pause - pause / 512 * u32::from(self.jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use proptest::prelude::*;

    const RULES: Rules =
        Rules { threshold: 3, first_pause: Duration::from_millis(100), most_pause: Duration::from_secs(5), jitter: 0 };

    fn gone() -> Error {
        Error::new(ErrorKind::Timeout, "no answer in time")
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not() {
        let (mut breaker, now) = (Breaker::new(RULES), Instant::now());
        assert!(!breaker.failed(now, &gone()) && !breaker.failed(now, &gone()));
        breaker.succeeded();
        assert!(!breaker.failed(now, &gone()) && !breaker.failed(now, &gone()));
        assert!(breaker.check(now).is_ok());
        assert!(breaker.failed(now, &gone()), "the third in a row");
        let error = breaker.check(now).unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Unavailable, Some(RULES.first_pause)));
        assert!(!breaker.failed(now, &gone()), "opened once");
    }

    #[test]
    fn time_outs_open_it_only_if_nothing_is_answered() {
        let (mut breaker, now) = (Breaker::new(RULES), Instant::now());
        for _ in 0..2 {
            assert!(breaker.timed_out() && !breaker.timed_out() && breaker.is_suspected());
            breaker.cleared();
            assert!(!breaker.is_suspected() && !breaker.silent(now, &gone()), "something was answered meanwhile");
        }
        assert!((0..100).all(|_| breaker.timed_out() || breaker.check(now).is_ok()));
        assert!(breaker.silent(now, &gone()) && breaker.check(now).is_err());
        assert!(!breaker.timed_out() && !breaker.silent(now, &gone()), "opened once");
    }

    #[test]
    fn there_is_one_probe_and_nobody_passes_beside_it() {
        let (mut breaker, start) = (Breaker::new(RULES), Instant::now());
        breaker.trip(start, &gone());
        assert!(!breaker.take_probe(start + Duration::from_millis(99)));
        let due = start + RULES.first_pause;
        assert!(breaker.take_probe(due));
        assert!(!breaker.take_probe(due) && breaker.check(due).is_err() && breaker.due().is_none());
        breaker.succeeded();
        assert!(breaker.check(due).is_err(), "a late answer is no probe");
        assert!(breaker.close() && breaker.check(due).is_ok());
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_jitter_takes_at_most_a_half() {
        let pauses: Vec<_> = (0..8).map(|probes| RULES.pause(probes).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        let most = Rules { jitter: 255, ..RULES };
        assert!(most.pause(0) >= RULES.first_pause / 2 && most.pause(0) < RULES.first_pause);
    }

    proptest! {
        /// Against a model that only knows who said what last.
        #[test]
        fn calls_pass_exactly_while_it_is_closed(steps in prop::collection::vec((0u8..8, 0u64..300), 1..200)) {
            let (mut breaker, mut now) = (Breaker::new(RULES), Instant::now());
            let (mut in_a_row, mut open, mut probing, mut suspected) = (0, false, false, false);
            for (step, millis) in steps {
                now += Duration::from_millis(millis);
                match step {
                    0 => {
                        breaker.succeeded();
                        (in_a_row, suspected) = if open { (in_a_row, false) } else { (0, false) };
                    }
                    1 => {
                        let opened = breaker.failed(now, &gone());
                        in_a_row += u32::from(!open);
                        prop_assert_eq!(opened, !open && in_a_row == RULES.threshold);
                        open |= opened;
                        suspected &= !open;
                    }
                    2 => {
                        let due = breaker.due();
                        let taken = breaker.take_probe(now);
                        prop_assert_eq!(taken, open && !probing && due.is_some_and(|due| due <= now));
                        probing |= taken;
                    }
                    3 if probing => { breaker.trip(now, &gone()); probing = false; }
                    4 if probing => {
                        prop_assert!(breaker.close());
                        (probing, open, in_a_row, suspected) = (false, false, 0, false);
                    }
                    5 => {
                        prop_assert_eq!(breaker.timed_out(), !open && !suspected);
                        suspected = !open;
                    }
                    6 => {
                        prop_assert_eq!(breaker.silent(now, &gone()), suspected);
                        open |= suspected;
                        suspected = false;
                    }
                    7 => {
                        breaker.cleared();
                        suspected = false;
                    }
                    _ => {}
                }
                prop_assert_eq!((breaker.check(now).is_ok(), breaker.is_suspected()), (!open, suspected));
                if let Some(due) = breaker.due() {
                    prop_assert!(due.saturating_duration_since(now) <= RULES.most_pause);
                }
            }
        }
    }
}
