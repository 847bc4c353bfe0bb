//! What an operator can do at run time.

use llm_core::{Error, ErrorKind, Labels, Priority};
use llm_ratelimit::{Reason, Shed};

use crate::time::{DAY, ask, limits, noon, used};

#[test]
fn limits_scale_up_and_down_and_back() {
    let clock = noon();
    let limiter = limits(["10/day", "60/minute burst 10", "2 concurrent"]).clock(clock.clone()).build();
    let emergency = limiter.emergency();
    let amounts = || limiter.usage("a").iter().map(|s| s.amount).collect::<Vec<_>>();
    emergency.scale(2_500);
    assert_eq!(amounts(), [25, 25, 5]);
    for _ in 0..25 {
        limiter.try_reserve(&ask("a")).unwrap().settle(used(0, 0));
    }
    assert!(limiter.try_reserve(&ask("a")).is_err());
    emergency.scale(0);
    assert_eq!(amounts(), [1, 1, 1], "what is left of a limit is never nothing");
    emergency.restore();
    assert_eq!(amounts(), [10, 10, 2]);
    clock.advance(DAY);
    assert_eq!(limiter.usage("a").iter().next().unwrap().remaining, 10, "the spike made no debt");
}

#[test]
fn calls_are_shed_by_priority_plan_and_label() {
    let limiter = limits(["10/day"]).clock(noon()).build();
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
fn what_is_shed_is_bounded() {
    let emergency = limits(["10/day"]).clock(noon()).build().emergency();
    let taken = (0..1_000).filter(|n| emergency.shed(Shed::Plan(n.to_string().into()))).count();
    assert_eq!(taken, llm_ratelimit::Emergency::MAX_SHED);
}
