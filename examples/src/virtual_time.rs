//! Virtual time, which passes only while no task can run, so that a month takes seconds.

use std::{
    future::Future,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use llm_core::{BoxError, Clock};
use tokio::time::{Instant, sleep_until};

/// Start of virtual time, in seconds since 1970: midnight before Monday, 5 January 2026, in UTC.
const START: u64 = 1_767_571_200;

/// Wall clock that follows tokio's paused time. It starts at midnight before a Monday, the first day of a week.
///
/// ```
/// use std::time::Duration;
/// use examples::virtual_time::{self, VirtualClock};
/// use llm_core::Clock;
///
/// let passed = virtual_time::run(async {
///     let clock = VirtualClock::start();
///     let before = clock.now();
///     tokio::time::sleep(Duration::from_secs(30 * 86_400)).await;
///     clock.now().duration_since(before)
/// })?;
/// assert_eq!(passed?.as_secs(), 30 * 86_400);
/// # Ok::<_, llm_core::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct VirtualClock(Instant);

impl VirtualClock {
    /// Starts the clock now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the instant at which the clock was started.
    #[must_use]
    pub fn started_at(&self) -> Instant {
        self.0
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(START) + self.0.elapsed()
    }
}

/// Starts each call at its time since the clock's start, and returns the outputs in the order of their completion. The
/// times must
/// not decrease.
pub async fn replay<F: Future>(clock: VirtualClock, calls: impl IntoIterator<Item = (Duration, F)>) -> Vec<F::Output> {
    let (mut running, mut outputs) = (FuturesUnordered::new(), Vec::new());
    for (at, call) in calls {
        let start = sleep_until(clock.started_at() + at);
        tokio::pin!(start);
        loop {
            tokio::select! {
                biased;
                () = &mut start => break,
                Some(output) = running.next() => outputs.push(output),
            }
        }
        running.push(call);
    }
    while let Some(output) = running.next().await {
        outputs.push(output);
    }
    outputs
}

/// Runs a future in virtual time, on this thread.
///
/// # Errors
///
/// The runtime cannot be built.
pub fn run<F: Future>(future: F) -> Result<F::Output, BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(future))
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[test]
    fn replay_starts_calls_at_their_times() {
        let ended = run(async {
            let clock = VirtualClock::start();
            let call = |takes: u64| async move {
                sleep(Duration::from_secs(takes)).await;
                (takes, clock.started_at().elapsed().as_secs())
            };
            replay(clock, [(0, 10), (3, 1), (86_400, 5)].map(|(at, takes)| (Duration::from_secs(at), call(takes))))
                .await
        });
        assert_eq!(ended.unwrap(), [(1, 4), (10, 10), (5, 86_405)]);
    }
}
