//! Tests of an operator's actions at run time.

use std::time::Duration;

use llm_core::{Error, ErrorKind, Labels, Priority};
use llm_ratelimit::{Reason, Shed, Waiting};

use crate::support::{AtOnce, DAY, HOUR, Paused, ask, limits, noon, used};

#[test]
fn emergency_scale_changes_limits_and_restores() {
    let clock = noon();
    let limiter = limits(["10/day", "60/minute burst 10", "2 concurrent"]).clock(clock.clone()).build().unwrap();
    let emergency = limiter.emergency();
    let amounts = || limiter.usage("a").at_once().iter().map(|s| s.amount).collect::<Vec<_>>();
    emergency.scale(2_500);
    assert_eq!(amounts(), [25, 25, 5]);
    for _ in 0..25 {
        limiter.try_reserve(&ask("a")).unwrap().settle(used(0, 0));
    }
    assert!(limiter.try_reserve(&ask("a")).is_err());
    emergency.scale(0);
    assert_eq!(amounts(), [1, 1, 1], "what is left of a limit is never nothing");
    emergency.scale(u32::MAX);
    assert_eq!(amounts()[0], 42_949_672);
    emergency.restore();
    assert_eq!(amounts(), [10, 10, 2]);
    clock.advance(DAY);
    assert_eq!(limiter.usage("a").at_once().iter().next().unwrap().remaining, 10, "the spike made no debt");
}

#[test]
fn emergency_shed_by_priority_plan_label() {
    let limiter = limits(["10/day"]).clock(noon()).build().unwrap();
    let emergency = limiter.emergency();
    let reason = |demand| limiter.try_reserve(&demand).map(drop).map_err(|refusal| refusal.reason());
    let mut labels = Labels::default();
    labels.insert("feature", "demo").unwrap();
    emergency.shed(Shed::Priority(Priority::Background));
    emergency.shed(Shed::Label { name: "feature".into(), value: "demo".into() });
    assert_eq!(reason(ask("a").priority(Priority::Background)), Err(Reason::Shed));
    assert_eq!(reason(ask("a").labels(labels)), Err(Reason::Shed));
    assert_eq!(reason(ask("a")), Ok(()));
    emergency.shed(Shed::Plan("default".into()));
    assert_eq!(reason(ask("a")), Err(Reason::Shed));
    emergency.restore();
    emergency.cache_only(true);
    let error = Error::from(limiter.try_reserve(&ask("a")).unwrap_err());
    assert_eq!((error.kind(), error.code()), (ErrorKind::Overloaded, Some("cache_only")));
    emergency.restore();
    assert_eq!(reason(ask("a")), Ok(()));
}

#[test]
fn emergency_shed_rules_are_bounded() {
    let emergency = limits(["10/day"]).clock(noon()).build().unwrap().emergency();
    let taken = (0..1_000).filter(|n| emergency.shed(Shed::Plan(n.to_string().into()))).count();
    assert_eq!(taken, llm_ratelimit::Emergency::MAX_SHED);
}

#[tokio::test(start_paused = true)]
async fn emergency_shed_refuses_waiting_calls() {
    let limiter = limits(["1 concurrent"]).clock(Paused::new()).waiting(Waiting::at_most(HOUR)).build().unwrap();
    let held = limiter.try_reserve(&ask("a")).unwrap();
    let wait = |priority| {
        let limiter = limiter.clone();
        let call = async move { limiter.reserve(&ask("a").priority(priority)).await.map(drop) };
        tokio::spawn(async move { call.await.map_err(|refusal| refusal.reason()) })
    };
    let (first, background) = (wait(Priority::Interactive), wait(Priority::Background));
    tokio::time::sleep(Duration::from_millis(1)).await;
    limiter.emergency().shed(Shed::Priority(Priority::Background));
    assert_eq!(background.await.unwrap(), Err(Reason::Shed));
    assert_eq!(limiter.stats().waiting, 1);
    drop(held);
    assert_eq!(first.await.unwrap(), Ok(()));
}

#[test]
fn emergency_scale_does_not_overflow() {
    let limiter =
        limits(["18446744073709551615/day", "18446744073709551615 tokens/minute"]).clock(noon()).build().unwrap();
    for factor in [u32::MAX, 0, 1, 2_500] {
        limiter.emergency().scale(factor);
        limiter.try_reserve(&ask("a").tokens(1, 0)).unwrap().settle(used(1, 0));
        limiter.emergency().restore();
        limiter.forget("a").at_once();
    }
}
