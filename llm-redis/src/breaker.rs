//! Circuit breaker, as a state machine without a clock and without I/O. Its methods get results and timestamps.

use std::time::Duration;

use tokio::time::Instant;

use crate::Error;

/// Circuit breaker that refuses calls while the server is unavailable.
///
/// A closed breaker counts consecutive failures. A call that timed out does not count, because callers choose different
/// timeouts. Instead, the connection manager probes the server, and the result of the probe decides.
///
/// An open breaker refuses every call until a probe succeeds. At most one probe runs at a time. The pauses between
/// probes double up to a longest pause.
pub(crate) struct Breaker {
    config: BreakerConfig,
    state: State,
}

/// Settings of a [`Breaker`].
#[derive(Clone, Copy)]
pub(crate) struct BreakerConfig {
    /// Number of consecutive failures that open the breaker.
    pub(crate) failure_threshold: u32,
    /// Pause before the first probe of an open breaker.
    pub(crate) first_pause: Duration,
    /// Longest pause between probes.
    pub(crate) max_pause: Duration,
    /// Amount by which this process shortens its pauses, in 512ths of a pause.
    ///
    /// Processes of a fleet draw different values, so that they do not probe in step.
    pub(crate) jitter: u8,
}

enum State {
    Closed {
        failures: u32,
        /// True if a call has timed out and no reply has arrived since.
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
    pub(crate) fn new(config: BreakerConfig) -> Self {
        Self { config, state: State::CLOSED }
    }

    /// Returns an error with the time until the next probe if the breaker is open. The time is zero while a probe runs.
    pub(crate) fn check(&self, now: Instant) -> Result<(), Error> {
        match &self.state {
            State::Closed { .. } => Ok(()),
            State::Open { cause, due, .. } => Err(Error::unavailable(cause, due.saturating_duration_since(now))),
            State::Probing { cause, .. } => Err(Error::unavailable(cause, Duration::ZERO)),
        }
    }

    /// Records a call that received a reply, which resets the count of failures and ends a suspicion.
    pub(crate) fn record_success(&mut self) {
        if let State::Closed { .. } = self.state {
            self.state = State::CLOSED;
        }
    }

    /// Records a call that was sent and received no reply in time.
    ///
    /// Returns `true` if the server was not suspected before.
    pub(crate) fn record_timeout(&mut self) -> bool {
        match &mut self.state {
            State::Closed { suspected, .. } => !std::mem::replace(suspected, true),
            State::Open { .. } | State::Probing { .. } => false,
        }
    }

    /// Returns `true` if the connection manager must probe the server, because a call timed out.
    pub(crate) fn is_suspected(&self) -> bool {
        matches!(self.state, State::Closed { suspected: true, .. })
    }

    /// Ends the suspicion after the server has replied.
    pub(crate) fn clear_suspicion(&mut self) {
        if let State::Closed { suspected, .. } = &mut self.state {
            *suspected = false;
        }
    }

    /// Records that the probe of a suspected server timed out. Returns `true` if this opened the breaker.
    pub(crate) fn confirm_suspicion(&mut self, now: Instant, cause: &Error) -> bool {
        self.is_suspected() && self.trip(now, cause)
    }

    /// Records a failure that indicates an unavailable server. Returns `true` if the failure opened the breaker.
    pub(crate) fn record_failure(&mut self, now: Instant, cause: &Error) -> bool {
        match &mut self.state {
            State::Closed { failures, .. } => *failures += 1,
            // The failed call was sent before the breaker opened, so the failure is not counted.
            State::Open { .. } | State::Probing { .. } => return false,
        }
        match self.state {
            State::Closed { failures, .. } if failures >= self.config.failure_threshold => self.trip(now, cause),
            _ => false,
        }
    }

    /// Opens a closed breaker, or schedules the next probe after a failed probe. Does nothing if the breaker is open
    /// and no probe runs. Returns `true` if the breaker was closed before.
    pub(crate) fn trip(&mut self, now: Instant, cause: &Error) -> bool {
        let probes = match &self.state {
            State::Closed { .. } => 0,
            State::Open { .. } => return false,
            State::Probing { probes, .. } => probes + 1,
        };
        let due = now + self.config.pause(probes);
        self.state = State::Open { cause: cause.clone(), probes, due };
        probes == 0
    }

    /// Records the start of a probe if a probe is due. Returns `true` if the caller must then run the probe.
    pub(crate) fn take_probe(&mut self, now: Instant) -> bool {
        match &self.state {
            State::Open { cause, probes, due } if *due <= now => {
                self.state = State::Probing { cause: cause.clone(), probes: *probes };
                true
            }
            _ => false,
        }
    }

    /// Closes the breaker and resets its counts. Returns `true` if the breaker was open.
    pub(crate) fn close(&mut self) -> bool {
        let was_open = !matches!(self.state, State::Closed { .. });
        self.state = State::CLOSED;
        was_open
    }

    /// Returns the time at which the next probe is due; `None` if the breaker is closed or a probe is running.
    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Open { due, .. } => Some(*due),
            _ => None,
        }
    }

    /// Returns the error that opened the breaker, or that of the latest failed probe; `None` if the breaker is closed.
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

impl BreakerConfig {
    /// Returns the pause before the next probe after `probes` failed probes.
    ///
    /// The pause doubles up to the longest pause. The jitter shortens it by at most a half.
    fn pause(&self, probes: u32) -> Duration {
        let pause = self.first_pause.saturating_mul(1 << probes.min(20)).min(self.max_pause);
        pause - pause / 512 * u32::from(self.jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use proptest::prelude::*;

    const CONFIG: BreakerConfig = BreakerConfig {
        failure_threshold: 3,
        first_pause: Duration::from_millis(100),
        max_pause: Duration::from_secs(5),
        jitter: 0,
    };

    fn timeout() -> Error {
        Error::new(ErrorKind::Timeout, "no reply in time")
    }

    #[test]
    fn breaker_consecutive_failures_open_it() {
        let (mut breaker, now) = (Breaker::new(CONFIG), Instant::now());
        assert!(!breaker.record_failure(now, &timeout()) && !breaker.record_failure(now, &timeout()));
        breaker.record_success();
        assert!(!breaker.record_failure(now, &timeout()) && !breaker.record_failure(now, &timeout()));
        assert!(breaker.check(now).is_ok());
        assert!(breaker.record_failure(now, &timeout()), "the third in a row");
        let error = breaker.check(now).unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Unavailable, Some(CONFIG.first_pause)));
        assert!(!breaker.record_failure(now, &timeout()), "opened once");
    }

    #[test]
    fn breaker_timeouts_open_it_only_unanswered() {
        let (mut breaker, now) = (Breaker::new(CONFIG), Instant::now());
        for _ in 0..2 {
            assert!(breaker.record_timeout() && !breaker.record_timeout() && breaker.is_suspected());
            breaker.clear_suspicion();
            assert!(
                !breaker.is_suspected() && !breaker.confirm_suspicion(now, &timeout()),
                "a reply arrived meanwhile"
            );
        }
        assert!((0..100).all(|_| breaker.record_timeout() || breaker.check(now).is_ok()));
        assert!(breaker.confirm_suspicion(now, &timeout()) && breaker.check(now).is_err());
        assert!(!breaker.record_timeout() && !breaker.confirm_suspicion(now, &timeout()), "opened once");
    }

    #[test]
    fn breaker_open_admits_only_one_probe() {
        let (mut breaker, start) = (Breaker::new(CONFIG), Instant::now());
        breaker.trip(start, &timeout());
        assert!(!breaker.take_probe(start + Duration::from_millis(99)));
        let due = start + CONFIG.first_pause;
        assert!(breaker.take_probe(due));
        assert!(!breaker.take_probe(due) && breaker.check(due).is_err() && breaker.due().is_none());
        breaker.record_success();
        assert!(breaker.check(due).is_err(), "a late reply is no probe");
        assert!(breaker.close() && breaker.check(due).is_ok());
    }

    #[test]
    fn probe_backoff_pauses_double_and_jitter_halves() {
        let pauses: Vec<_> = (0..8).map(|probes| CONFIG.pause(probes).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        let most = BreakerConfig { jitter: 255, ..CONFIG };
        assert!(most.pause(0) >= CONFIG.first_pause / 2 && most.pause(0) < CONFIG.first_pause);
    }

    proptest! {
        /// Compares the breaker with a model that only counts consecutive failures.
        #[test]
        fn breaker_admits_calls_exactly_while_closed(steps in prop::collection::vec((0u8..8, 0u64..300), 1..200)) {
            let (mut breaker, mut now) = (Breaker::new(CONFIG), Instant::now());
            let (mut in_a_row, mut open, mut probing, mut suspected) = (0, false, false, false);
            for (step, millis) in steps {
                now += Duration::from_millis(millis);
                match step {
                    0 => {
                        breaker.record_success();
                        (in_a_row, suspected) = if open { (in_a_row, false) } else { (0, false) };
                    }
                    1 => {
                        let opened = breaker.record_failure(now, &timeout());
                        in_a_row += u32::from(!open);
                        prop_assert_eq!(opened, !open && in_a_row == CONFIG.failure_threshold);
                        open |= opened;
                        suspected &= !open;
                    }
                    2 => {
                        let due = breaker.due();
                        let taken = breaker.take_probe(now);
                        prop_assert_eq!(taken, open && !probing && due.is_some_and(|due| due <= now));
                        probing |= taken;
                    }
                    3 if probing => { breaker.trip(now, &timeout()); probing = false; }
                    4 if probing => {
                        prop_assert!(breaker.close());
                        (probing, open, in_a_row, suspected) = (false, false, 0, false);
                    }
                    5 => {
                        prop_assert_eq!(breaker.record_timeout(), !open && !suspected);
                        suspected = !open;
                    }
                    6 => {
                        prop_assert_eq!(breaker.confirm_suspicion(now, &timeout()), suspected);
                        open |= suspected;
                        suspected = false;
                    }
                    7 => {
                        breaker.clear_suspicion();
                        suspected = false;
                    }
                    _ => {}
                }
                prop_assert_eq!((breaker.check(now).is_ok(), breaker.is_suspected()), (!open, suspected));
                if let Some(due) = breaker.due() {
                    prop_assert!(due.saturating_duration_since(now) <= CONFIG.max_pause);
                }
            }
        }
    }
}
