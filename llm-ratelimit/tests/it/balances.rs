//! Tests of balances that survive a limiter: a limiter that restores them decides as the first one would.

use std::time::Duration;

use llm_core::ManualClock;
use llm_ratelimit::{Balance, Limiter};

use crate::support::{AtOnce, DAY, HOUR, ask, limits, noon, used};

/// Function that creates a limiter from the balances of another one.
type Reopen = fn(&ManualClock, Option<Limiter>) -> Limiter;

const LIMITS: [&str; 3] = ["1000 tokens/day", "3 proposals/month in Europe/Berlin", "60/minute"];

fn suite(reopen: Reopen) {
    let clock = noon();
    let limiter = reopen(&clock, None);
    let take = |limiter: &Limiter, tokens| limiter.try_reserve(&ask("a").tokens(tokens, 0).units(1, "proposal"));
    let used_up =
        |limiter: &Limiter| limiter.usage("a").at_once().iter().map(|s| (s.used, s.debt)).take(2).collect::<Vec<_>>();
    take(&limiter, 400).expect("there is room").settle(used(300, 0));
    let running = take(&limiter, 600).expect("there is room");
    let limiter = reopen(&clock, Some(limiter));
    assert_eq!(used_up(&limiter), [(900, 0), (2, 0)], "what ran then counts as spent");
    drop(running);
    assert_eq!(used_up(&limiter), [(900, 0), (2, 0)], "its reservation was the other limiter's");
    take(&limiter, 100).expect("there is room").settle(used(350, 0));
    assert!(take(&limiter, 0).is_err(), "three proposals");
    let limiter = reopen(&clock, Some(limiter));
    assert_eq!(used_up(&limiter)[0], (1_250, 250));
    clock.advance(12 * HOUR);
    let limiter = reopen(&clock, Some(limiter));
    assert_eq!(
        limiter.try_reserve(&ask("a").tokens(751, 0).units(0, "proposal")).expect_err("it is too much").retry_after(),
        Some(DAY)
    );
    limiter.forget("a").at_once();
    let limiter = reopen(&clock, Some(limiter));
    assert_eq!(used_up(&limiter), [(0, 0), (0, 0)]);
    clock.advance(Duration::from_secs(1));
    take(&limiter, 1_000).expect("there is room").settle(used(1_000, 0));
}

#[test]
fn balances_restored_decide_as_before() {
    suite(|clock, before| {
        let limiter = limits(LIMITS).clock(clock.clone()).build().unwrap();
        limiter.restore(before.into_iter().flat_map(|before| before.balances().at_once())).at_once();
        limiter
    });
}

#[test]
fn balances_stored_decide_as_before() {
    suite(|clock, before| {
        let limiter = limits(LIMITS).clock(clock.clone()).build().unwrap();
        let json =
            serde_json::to_string(&before.map(|before| before.balances().at_once()).unwrap_or_default()).unwrap();
        limiter.restore(serde_json::from_str::<Vec<Balance>>(&json).unwrap()).at_once();
        limiter
    });
}

#[test]
fn changed_balances_returns_only_changes() {
    let limiter = limits(LIMITS).clock(noon()).build().unwrap();
    limiter.try_reserve(&ask("a").tokens(1, 0)).unwrap().settle(used(1, 0));
    limiter.try_reserve(&ask("b").tokens(1, 0)).unwrap().settle(used(1, 0));
    assert_eq!(limiter.changed_balances().at_once().len(), 4);
    assert!(limiter.changed_balances().at_once().is_empty());
    limiter.try_reserve(&ask("b").tokens(2, 0)).unwrap().settle(used(2, 0));
    let changed = limiter.changed_balances().at_once();
    let told: Vec<_> = changed.iter().map(|b| (b.values().collect::<Vec<_>>(), b.counter(), b.spent())).collect();
    assert_eq!(told[0], (vec!["b"], "tokens/calendar day", 3));
    assert_eq!(limiter.balances().at_once().len(), 4);
}
