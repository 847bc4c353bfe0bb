//! Tests of plans that change, and of tenants that come and go.

use std::time::Duration;

use llm_core::Usage;
use llm_ratelimit::{Demand, Limiter, Plans, Settlement, Waiting};
use tokio::time::sleep;

use crate::support::{AtOnce, DAY, HOUR, Paused, ask, limits, noon, used};

fn plans(json: &str) -> Plans {
    serde_json::from_str(json).expect("the plans are right")
}

#[test]
fn replace_keeps_usage() {
    let free = |month| plans(&format!(r#"{{"plans": {{"default": {{"limits": ["{month}/month", "10/minute"]}}}}}}"#));
    let limiter = Limiter::builder(free(5)).clock(noon()).build().unwrap();
    let go = || limiter.try_reserve(&ask("a")).map(|r| r.settle(used(0, 0)));
    let left = || limiter.usage("a").at_once().iter().map(|s| s.remaining).collect::<Vec<_>>();
    let held = limiter.try_reserve(&ask("a")).unwrap();
    go().unwrap();
    go().unwrap();
    limiter.replace(&free(50)).unwrap();
    assert_eq!(left(), [47, 7]);
    limiter.replace(&free(2)).unwrap();
    assert_eq!(left(), [0, 7]);
    assert!(go().is_err());
    limiter.replace(&plans("{}")).unwrap();
    go().unwrap();
    limiter.replace(&free(5)).unwrap();
    assert_eq!(left(), [2, 7], "an unlimited time between counts nothing and forgets nothing");
    drop(held);
    assert_eq!(left(), [3, 8], "what was reserved under another plan comes back");
    let pro = r#"{"default": "free", "plans": {"free": {"limits": ["5/month"]}, "pro": {"limits": ["9/month"]}}, "tenants": {"a": "pro"}}"#;
    limiter.replace(&plans(pro)).unwrap();
    assert_eq!((left(), &*limiter.plan_of("a"), &*limiter.plan_of("b")), (vec![7], "pro", "free"));
}

/// The latest plans apply to decisions and to statuses alike.
#[test]
fn replace_at_once_does_not_mix_plans() {
    let (one, many) = (Plans::uniform(["1/day"]).unwrap(), Plans::uniform(["1000/day"]).unwrap());
    let limiter = Limiter::builder(one.clone()).clock(noon()).build().unwrap();
    let start = std::sync::Barrier::new(2);
    for round in 0..1_000u32 {
        std::thread::scope(|scope| {
            for plans in [&one, &many] {
                scope.spawn(|| {
                    start.wait();
                    limiter.replace(plans).unwrap();
                });
            }
        });
        let tenant = round.to_string();
        limiter.try_reserve(&ask(&tenant)).unwrap().settle(used(0, 0));
        let amount = limiter.usage(&tenant).at_once().iter().next().unwrap().amount;
        let second = limiter.try_reserve(&ask(&tenant)).map(|call| call.settle(used(0, 0)));
        assert_eq!(second.is_ok(), amount > 1, "round {round}: the limit is {amount}");
    }
}

#[test]
fn replace_with_lower_limit_makes_no_debt() {
    let clock = noon();
    let limiter = limits(["100/day"]).clock(clock.clone()).build().unwrap();
    for _ in 0..60 {
        limiter.try_reserve(&ask("a")).unwrap().settle(used(0, 0));
    }
    limiter.replace(&Plans::uniform(["10/day"]).unwrap()).unwrap();
    assert!(limiter.try_reserve(&ask("a")).is_err());
    clock.advance(DAY);
    assert_eq!(limiter.usage("a").at_once().iter().next().unwrap().remaining, 10);
}

#[tokio::test(start_paused = true)]
async fn replace_with_larger_limit_wakes_waiters() {
    let limiter = limits(["1/day"]).clock(Paused::new()).waiting(Waiting::at_most(HOUR * 24)).build().unwrap();
    limiter.try_reserve(&ask("a")).unwrap().settle(used(0, 0));
    let waits = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.reserve(&ask("a")).await.map(|r| r.settle(used(0, 0))) }
    });
    sleep(Duration::from_millis(1)).await;
    assert_eq!(limiter.stats().waiting, 1);
    limiter.replace(&Plans::uniform(["2/day"]).unwrap()).unwrap();
    let began = tokio::time::Instant::now();
    waits.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[test]
fn max_accounts_bounds_memory_and_keeps_debt() {
    let clock = noon();
    let limiter = limits(["2/minute", "1000 tokens/month"]).clock(clock.clone()).max_accounts(640).build().unwrap();
    let owes = ask("owes").tokens(1_000, 0);
    limiter.try_reserve(&owes).unwrap().settle(Settlement::Used { usage: Usage::new(1_500, 0), cost: None });
    let mut passed = 0;
    for n in 0..10_000u32 {
        if let Ok(reservation) = limiter.try_reserve(&Demand::new(format!("invented-{n}"), "m").tokens(10, 0)) {
            reservation.settle(used(10, 0));
            passed += 1;
        }
    }
    let accounts = limiter.stats().accounts;
    assert!(accounts <= 640 + 64, "{accounts} accounts");
    assert!(passed <= 640 + 64 * 2, "{passed} passed: those without room share");
    assert_eq!(limiter.usage("owes").at_once().iter().nth(1).unwrap().debt, 500);
    clock.advance(31 * DAY);
    limiter.sweep();
    assert_eq!(limiter.stats().accounts, 1, "all but who still owes");
    assert_eq!(limiter.usage("owes").at_once().iter().nth(1).unwrap().remaining, 500);
}

#[test]
fn sweep_forgets_idle_tenants() {
    let clock = noon();
    let limiter = limits(["10/minute"]).clock(clock.clone()).build().unwrap();
    for n in 0..1_000u32 {
        limiter.try_reserve(&ask(&n.to_string())).unwrap().settle(used(0, 0));
    }
    assert_eq!(limiter.stats().accounts, 1_000);
    for _ in 0..500u32 {
        clock.advance(Duration::from_secs(4));
        for n in 0..64u32 {
            drop(limiter.try_reserve(&ask(&format!("busy-{n}"))));
        }
    }
    assert!(limiter.stats().accounts < 200, "{}", limiter.stats().accounts);
}

#[test]
fn headers_of_unused_tenant_are_full() {
    let limiter = limits(["10/minute", "3 concurrent", "5k tokens/day"]).clock(noon()).build().unwrap();
    let headers = limiter.usage("new here").at_once().headers();
    let value = |name: &str| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str());
    assert_eq!(value("x-ratelimit-remaining-requests"), Some("10"), "{headers:?}");
    assert_eq!(value("x-ratelimit-remaining-tokens"), Some("5000"), "{headers:?}");
}
