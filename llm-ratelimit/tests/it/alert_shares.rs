//! Tests of the shares of a limit at which an event is emitted.

use std::sync::{Arc, Mutex, MutexGuard};

use llm_core::ManualClock;
use llm_ratelimit::{BuildError, Event, Limiter, LimiterBuilder, Plans};

use crate::support::{AtOnce, DAY, ask, limits, noon, used};

/// Limiter of 100 tokens a day, and the shares that it reported.
struct Reporting {
    limiter: Limiter,
    reported: Arc<Mutex<Vec<u8>>>,
}

impl Reporting {
    fn new(clock: &ManualClock, configure: impl Fn(LimiterBuilder) -> LimiterBuilder) -> Self {
        let reported = Arc::<Mutex<Vec<u8>>>::default();
        let sink = {
            let reported = Arc::clone(&reported);
            move |event: &Event| lock(&reported).push(event.percent)
        };
        let builder = limits(["100 tokens/day"]).clock(clock.clone()).sink(sink);
        Self { limiter: configure(builder).build().expect("the settings are right"), reported }
    }

    /// Spends tokens, even if none are left, and returns the shares that are then reported.
    fn spend(&self, tokens: u64) -> Vec<u8> {
        self.limiter.try_reserve(&ask("a")).expect("there is room").settle(used(tokens, 0));
        std::mem::take(&mut *lock(&self.reported))
    }
}

fn lock(reported: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    reported.lock().expect("no test panics holding it")
}

#[test]
fn alert_shares_fire_once_per_window() {
    let of_day = |shares: &[u8]| {
        let clock = noon();
        let of = Reporting::new(&clock, |builder| builder.alert_shares(shares.iter().copied()));
        let days = [[30, 25, 5, 30], [40, 20, 5, 85]].map(|day| {
            let reported = day.map(|tokens| of.spend(tokens)).concat();
            clock.advance(DAY);
            reported
        });
        let [first, second] = days;
        (first, second)
    };
    for (shares, first, second) in [
        (&[][..], &[][..], &[][..]),
        (&[100], &[], &[100]),
        (&[90, 25, 60, 25], &[25, 60, 90], &[25, 60, 90]),
        (&[1, 2, 3, 50], &[1, 2, 3, 50], &[1, 2, 3, 50]),
        (&[100, 150, 151], &[], &[100, 150]),
    ] {
        assert_eq!(of_day(shares), (first.to_vec(), second.to_vec()), "{shares:?}");
    }
}

#[test]
fn alert_shares_reported_once_over_restarts() {
    let clock = noon();
    let before = Reporting::new(&clock, |builder| builder.alert_shares([60, 90]));
    assert_eq!(before.spend(65), [60]);
    let after_restart = |shares: &[u8], tokens| {
        let after = Reporting::new(&clock, |builder| builder.alert_shares(shares.iter().copied()));
        after.limiter.restore(before.limiter.balances().at_once()).at_once();
        [after.spend(0), after.spend(tokens)]
    };
    for (shares, expected) in [
        (&[60, 90][..], [vec![], vec![90]]),
        (&[50, 60, 65, 70], [vec![65], vec![70]]),
        (&[10, 20], [vec![], vec![]]),
        (&[], [vec![], vec![]]),
    ] {
        assert_eq!(after_restart(shares, 25), expected, "{shares:?}");
    }
}

#[test]
fn alert_shares_follow_changed_plan() {
    let clock = noon();
    let of = Reporting::new(&clock, |builder| builder.alert_shares([50, 80]));
    let change = |limit| of.limiter.replace(&Plans::uniform([limit]).unwrap()).unwrap();
    assert_eq!(of.spend(55), [50]);
    change("200 tokens/day");
    assert_eq!((of.spend(55), of.spend(49)), (vec![], vec![]), "half of it is reported for this window");
    assert_eq!(of.spend(1), [80]);
    change("1000 tokens/day");
    assert!(of.spend(700).is_empty());
    clock.advance(DAY);
    assert_eq!((of.spend(499), of.spend(1)), (vec![], vec![50]));
}

#[test]
fn alert_shares_refuse_zero() {
    let built = limits(["1/day"]).alert_shares([50, 0]).build();
    assert_eq!(built.unwrap_err(), BuildError::AlertShare);
}
