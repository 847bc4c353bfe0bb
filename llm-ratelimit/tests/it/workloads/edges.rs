//! Tests of a flood of calls over the edge of a window.

use std::time::Duration;

use llm_core::ManualClock;
use llm_ratelimit::Limiter;

use crate::support::{NOON, ask, limits, used};

const MINUTE: Duration = Duration::from_secs(60);
const PER_SECOND: u32 = 600;

/// Sends 600 calls a second for some time. Returns the times at which calls were granted, since noon.
fn flood(limiter: &Limiter, clock: &ManualClock, from: Duration, length: Duration) -> Vec<Duration> {
    let gap = Duration::from_secs(1) / PER_SECOND;
    let times = (0..).map(|n| from + gap * n).take_while(|at| *at < from + length);
    let passes = |at: &Duration| {
        clock.set_unix(Duration::from_secs(NOON) + *at);
        limiter.try_reserve(&ask("acme")).map(|reservation| reservation.settle(used(0, 0))).is_ok()
    };
    times.filter(passes).collect()
}

#[test]
fn bucket_minute_never_exceeds_limit_and_burst() {
    for begin in [0, 30, 59] {
        let clock = ManualClock::at_unix(NOON);
        let limiter = limits(["600/minute burst 60"]).clock(clock.clone()).build().unwrap();
        // The flood lasts two and a half minutes, over two edges of clock minutes.
        let passed = flood(&limiter, &clock, Duration::from_secs(begin), MINUTE * 5 / 2);
        let most = passed.iter().map(|first| {
            let within = passed.iter().filter(|at| *first <= **at && **at < *first + MINUTE);
            within.count()
        });
        let most = most.max().expect("some passed");
        assert!((650..=660).contains(&most), "{most} in a minute, from second {begin}");
        let all = passed.len();
        assert!((1_558..=1_560).contains(&all), "what drains in that time, and the burst: {all}");
    }
}

#[test]
fn window_day_never_exceeds_limit() {
    let midnight = Duration::from_secs(12 * 3_600);
    let clock = ManualClock::at_unix(NOON);
    let limiter = limits(["500/day"]).clock(clock.clone()).build().unwrap();
    let passed = flood(&limiter, &clock, midnight - Duration::from_secs(2), Duration::from_secs(4));
    let before = passed.iter().filter(|at| **at < midnight).count();
    assert_eq!((before, passed.len() - before), (500, 500));
}
