//! Tests of reserving and settling without tower.

use std::time::Duration;

use llm_core::{Error, ErrorKind, Labels, ManualClock};
use llm_ratelimit::{Demand, Limiter, Plans, Reason, Refusal, Settlement, Unit};

use crate::support::{AtOnce, DAY, HOUR, NOON, ask, cost, limits, nanos, noon, unpriced, used};

fn left(limiter: &Limiter, tenant: &str) -> Vec<u64> {
    limiter.usage(tenant).at_once().iter().map(|status| status.remaining).collect()
}

#[test]
fn limits_are_decided_all_or_nothing() {
    let clock = noon();
    let limiter =
        limits(["10/minute", "2 proposals/month", "$3/day"]).prices(unpriced()).clock(clock.clone()).build().unwrap();
    let proposal = |price| ask("acme").units(1, "proposals").cost(nanos(price));
    limiter.try_reserve(&proposal(2_000_000_000)).unwrap().settle(cost(2_000_000_000));
    let refusal = limiter.try_reserve(&proposal(2_000_000_000)).unwrap_err();
    assert_eq!(refusal.limit().unwrap().to_string(), "$3.00/day per tenant");
    assert_eq!(refusal.retry_after(), Some(12 * HOUR));
    assert_eq!(left(&limiter, "acme"), [9, 1, 1_000_000_000], "the refused call took nothing of the others");
    limiter.try_reserve(&proposal(1_000_000_000)).unwrap().settle(cost(1_000_000_000));
    let refusal = limiter.try_reserve(&proposal(0)).unwrap_err();
    assert_eq!(refusal.limit().unwrap().quota().unit(), &Unit::units("proposal"));
    assert_eq!(refusal.retry_after(), Some(Duration::from_secs(12 * 3600) + 9 * DAY));
    limiter.try_reserve(&ask("acme").units(3, "photos").cost(nanos(0))).unwrap().settle(cost(0));
    clock.advance(12 * HOUR + 9 * DAY);
    limiter.try_reserve(&proposal(1)).unwrap().settle(cost(1));
}

#[test]
fn settlement_counts_every_outcome() {
    let limiter = limits(["100/day", "1000 tokens/day", "$1/day", "50 photos/day", "3 concurrent"])
        .prices(unpriced())
        .clock(noon())
        .build()
        .unwrap();
    let take = || limiter.try_reserve(&ask("a").tokens(60, 40).cost(nanos(1_000)).units(5, "photo")).unwrap();
    let spent = || {
        let statuses = limiter.usage("a").at_once();
        let each: Vec<_> = statuses.iter().map(|s| (s.used, s.reserved)).collect();
        assert!(each.iter().all(|(_, reserved)| *reserved == 0), "nothing stays reserved: {each:?}");
        [each[0].0, each[1].0, each[2].0, each[3].0]
    };
    drop(take());
    assert_eq!(spent(), [0, 0, 0, 0], "not sent: nothing");
    take().settle(Settlement::Unsent);
    assert_eq!(spent(), [0, 0, 0, 0]);
    take().settle(Settlement::Refused);
    assert_eq!(spent(), [1, 0, 0, 0], "sent and refused: a request");
    let mut sent = take();
    sent.mark_sent();
    drop(sent);
    assert_eq!(spent(), [2, 100, 1_000, 5], "sent and unknown: all of it");
    take().settle(used(10, 5));
    assert_eq!(spent(), [3, 115, 2_000, 10], "used, at an unknown price: the reserved money");
    take().settle(cost(7));
    assert_eq!(spent(), [4, 115, 2_007, 15]);
    let held: Vec<_> = (0..3).map(|_| take()).collect();
    let refusal = limiter.try_reserve(&ask("a").tokens(1, 1).cost(nanos(1)).units(1, "photo")).unwrap_err();
    assert_eq!((refusal.reason(), refusal.retry_after()), (Reason::UsedUp, None), "only others can tell when");
    drop(held);
    drop(take());
}

#[test]
fn debt_is_paid_by_next_window() {
    let clock = noon();
    let limiter = limits(["1000 tokens/day"]).clock(clock.clone()).build().unwrap();
    let take = |tokens| limiter.try_reserve(&ask("a").tokens(tokens, 0));
    take(800).unwrap().settle(used(1_300, 0));
    let status = limiter.usage("a").at_once().iter().next().unwrap().clone();
    assert_eq!((status.used, status.debt, status.remaining), (1_300, 300, 0));
    // 700 are left tomorrow, so 800 fit only the day after.
    assert_eq!(take(800).unwrap_err().retry_after(), Some(12 * HOUR + DAY));
    assert_eq!(take(700).unwrap_err().retry_after(), Some(12 * HOUR));
    clock.advance(12 * HOUR);
    assert!(take(701).is_err());
    take(700).unwrap().settle(used(700, 0));
    clock.advance(DAY);
    take(1_000).unwrap().settle(used(1_000, 0));
}

#[test]
fn window_counts_calls_where_they_began() {
    let clock = noon();
    let limiter = limits(["1000 tokens/day"]).clock(clock.clone()).build().unwrap();
    let take = |tokens| limiter.try_reserve(&ask("a").tokens(tokens, 0)).unwrap();
    let used_now = || limiter.usage("a").at_once().iter().next().unwrap().used;
    let (cheap, dear) = (take(500), take(500));
    clock.advance(13 * HOUR);
    assert_eq!(used_now(), 0);
    let tomorrow = take(1_000);
    cheap.settle(used(100, 0));
    assert_eq!(used_now(), 0, "what comes back of yesterday is not for today");
    dear.settle(used(600, 0));
    assert_eq!(used_now(), 100, "what was spent beyond it is");
    drop(tomorrow);
}

#[test]
fn refusal_too_large_names_the_limit() {
    let limiter = limits(["1k tokens/minute burst 500", "10k output tokens/day"]).clock(noon()).build().unwrap();
    let refusal = limiter.try_reserve(&ask("a").tokens(501, 0)).unwrap_err();
    assert_eq!((refusal.reason(), refusal.retry_after()), (Reason::TooLarge, None));
    let error = Error::from(refusal);
    assert_eq!((error.kind(), error.is_retryable(), error.code()), (ErrorKind::OverBudget, false, Some("too_large")));
    assert!(error.message().contains("1000 tokens/minute burst 500 per tenant"), "{error}");
    assert_eq!(Refusal::of(&error).unwrap().plan(), "default");
    assert_eq!(limiter.stats().accounts, 0, "who is refused at once takes no room");
}

#[test]
fn dimensions_count_apart() {
    let plans: Plans = serde_json::from_str(
        r#"{"default": "free",
            "plans": {"free": {"limits": ["100/day"], "shared": ["150/day"]}, "pro": {}},
            "tenants": {"rich": "pro"},
            "limits": ["200/day", "120/day per model", "90/day per provider", "3/day per label user",
                       "5/day for label feature=demo", "2/day per tenant for model big"]}"#,
    )
    .unwrap();
    let limiter = Limiter::builder(plans).clock(noon()).build().unwrap();
    let go = |demand: Demand, times: u64| {
        let granted =
            (0..times).take_while(|_| limiter.try_reserve(&demand).map(|r| r.settle(used(0, 0))).is_ok()).count();
        let refusal = limiter.try_reserve(&demand).unwrap_err();
        (granted, refusal.limit().unwrap().to_string())
    };
    let label = |name: &str, value: &str| {
        let mut labels = Labels::default();
        labels.insert(name, value).unwrap();
        labels
    };
    let user = |n: u32| label("user", &n.to_string());
    assert_eq!(go(ask("a").labels(user(1)), 9).0, 3);
    assert_eq!(go(ask("b").labels(user(1)), 9), (0, "3 requests/day per label user".to_owned()));
    assert_eq!(go(ask("a").labels(user(2)), 9).0, 3, "six calls by now");
    let big = |tenant| Demand::new(tenant, "big").labels(label("user", tenant));
    assert_eq!(go(big("a"), 9), (2, "2 requests/day per tenant for model big".to_owned()));
    assert_eq!(go(big("b"), 9).0, 2);
    let mut demo = label("feature", "demo");
    demo.insert("user", "x").unwrap();
    assert_eq!(go(ask("c").labels(demo).provider("p"), 9), (3, "3 requests/day per label user".to_owned()));
    // Calls without the label count together.
    assert_eq!(go(ask("rich"), 9), (3, "3 requests/day per label user".to_owned()));
}

#[test]
fn dimensions_values_do_not_run_together() {
    let plans = Plans::uniform(["1/day per model"]).unwrap();
    let limiter = Limiter::builder(plans).clock(noon()).build().unwrap();
    for (tenant, model) in [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", "")] {
        limiter.try_reserve(&Demand::new(tenant, model)).unwrap().settle(used(0, 0));
    }
    assert_eq!(limiter.stats().accounts, 4);
}

#[test]
fn demand_negative_or_unpriced_is_refused() {
    let limiter =
        limits(["$1/day", "18446744073709551615 tokens/minute"]).prices(unpriced()).clock(noon()).build().unwrap();
    let refuse = |demand: Demand| limiter.try_reserve(&demand).unwrap_err().reason();
    assert_eq!(refuse(ask("a").cost(nanos(-1))), Reason::Negative);
    assert_eq!(refuse(ask("a")), Reason::Unpriced);
    for _ in 0..3 {
        let huge = ask("a").tokens(u64::MAX, u64::MAX).cost(nanos(0));
        if let Ok(reservation) = limiter.try_reserve(&huge) {
            reservation.settle(used(u64::MAX, u64::MAX));
        }
    }
    assert!(limiter.try_reserve(&ask("b").tokens(1, 1).cost(nanos(1))).is_ok());
}

#[test]
fn clock_set_back_gives_no_second_month() {
    let clock = noon();
    let limiter = limits(["5/month", "2/minute"]).clock(clock.clone()).build().unwrap();
    let go = || limiter.try_reserve(&ask("a")).map(|r| r.settle(used(0, 0)));
    go().unwrap();
    go().unwrap();
    assert!(go().is_err());
    clock.set_unix(Duration::from_secs(NOON - 40 * 86_400));
    assert!(go().is_err(), "back in October: still November's books, and the bucket is as full");
    clock.advance(Duration::from_secs(60));
    go().unwrap();
    go().unwrap();
    clock.advance(Duration::from_secs(60));
    go().unwrap();
    assert!(go().unwrap_err().limit().unwrap().quota().windows().is_some(), "five in all");
    clock.set_unix(Duration::from_secs(NOON + 400 * 86_400));
    go().unwrap();
    clock.set_unix(Duration::ZERO);
    drop(go());
}

#[test]
fn forget_keeps_running_calls_settling() {
    let limiter =
        limits(["10/day", "1000 tokens/minute", "5/day per model", "2 concurrent"]).clock(noon()).build().unwrap();
    let running = limiter.try_reserve(&ask("a").tokens(400, 0)).unwrap();
    limiter.try_reserve(&ask("a").tokens(600, 0)).unwrap().settle(used(600, 0));
    limiter.try_reserve(&ask("b")).unwrap().settle(used(0, 0));
    limiter.forget("a").at_once();
    let whole =
        |tenant: &str| limiter.limit_statuses(&ask(tenant)).at_once().iter().map(|s| s.remaining).collect::<Vec<_>>();
    assert_eq!(whole("a"), [9, 1_000, 1, 4]);
    running.settle(used(400, 0));
    assert_eq!(whole("a"), [9, 1_000, 2, 4]);
    assert_eq!(whole("b"), [9, 1_000, 2, 4], "nobody else's");
}

#[test]
fn clock_years_ahead_locks_no_tenant_out() {
    for (quota, hours) in [("5/day", 12), ("5/week", 36), ("5/month", 12 + 9 * 24)] {
        let clock = noon();
        let limiter = limits([quota]).clock(clock.clone()).build().unwrap();
        let go = || limiter.try_reserve(&ask("a"));
        clock.set_unix(Duration::from_secs(NOON + 4_000 * 86_400));
        let running = go().unwrap();
        (0..3).for_each(|_| go().unwrap().settle(used(0, 0)));
        clock.set_unix(Duration::from_secs(NOON));
        go().unwrap().settle(used(0, 0));
        assert_eq!(go().unwrap_err().retry_after(), Some(hours * HOUR), "five are spent, until this window ends");
        drop(running);
        go().unwrap().settle(used(0, 0));
        clock.advance(hours * HOUR);
        (0..5).for_each(|_| go().unwrap().settle(used(0, 0)));
        assert!(go().is_err());
    }
}

/// In these time zones, midnight does not exist or occurs twice on the day on which the clocks change.
#[test]
fn window_of_odd_midnight_has_one_budget() {
    for (zone, before, hours) in [
        // On 25 April 2025 Cairo's clocks went from 24:00 to 01:00, on 2 November Havana's from 01:00 to 00:00.
        ("Africa/Cairo", 1_745_531_999, 23),
        ("America/Havana", 1_762_055_999, 25),
        ("Europe/Berlin", 1_774_738_799, 23),
        ("Australia/Lord_Howe", 1_775_307_599, 24),
    ] {
        let clock = ManualClock::at_unix(before);
        let limiter = limits([format!("5/day in {zone}").as_str()]).clock(clock.clone()).build().unwrap();
        let go = || (0..9).filter(|_| limiter.try_reserve(&ask("a")).map(|r| r.settle(used(0, 0))).is_ok()).count();
        let mut granted = vec![go()];
        for _ in 0..hours {
            clock.advance(Duration::from_secs(1));
            granted.push(go());
            clock.advance(HOUR - Duration::from_secs(1));
        }
        assert_eq!(granted.iter().sum::<usize>(), 10, "{zone}: {granted:?}");
        assert_eq!(granted[..2], [5, 5], "{zone}");
    }
}
