//! Tests of fairness when not all calls can be served.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use llm_core::Priority;
use llm_ratelimit::{Limiter, Plans, Reason, Waiting};
use tokio::time::{Instant, sleep};

use crate::support::{HOUR, Paused, ask, used};

fn shared(limit: &str, waiting: Waiting) -> Limiter {
    let json = format!(
        r#"{{"default": "free", "plans": {{"free": {{}}, "pro": {{"weight": 3}}}}, "tenants": {{"pro": "pro"}},
            "limits": ["{limit}"]}}"#
    );
    let plans: Plans = serde_json::from_str(&json).expect("the plans are right");
    Limiter::builder(plans).clock(Paused::new()).waiting(waiting).build().expect("the limits are right")
}

fn long() -> Waiting {
    Waiting::at_most(10 * HOUR).max_calls(20_000)
}

#[tokio::test(start_paused = true)]
async fn weights_share_limit_among_backlogged_tenants() {
    let limiter = shared("6000 tokens/minute burst 100", long());
    let served = Arc::new(Mutex::new(HashMap::<&str, u64>::new()));
    // Another tenant takes the room that is free at the start, so that all of these calls wait.
    limiter.try_reserve(&ask("first").tokens(100, 0)).unwrap().settle(used(100, 0));
    let until = Instant::now() + Duration::from_secs(60);
    // The tenants' calls differ in number and size; only the tokens decide.
    let crowd = [("heavy", 300, 10), ("light", 100, 40), ("pro", 300, 25)];
    let callers: Vec<_> = crowd
        .into_iter()
        .flat_map(|(tenant, calls, tokens)| (0..calls).map(move |_| (tenant, tokens)))
        .map(|(tenant, tokens)| {
            let (limiter, served) = (limiter.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                let demand = ask(tenant).tokens(tokens, 0).deadline((until + 9 * HOUR).into_std());
                let Ok(reservation) = limiter.reserve(&demand).await else { return };
                if Instant::now() < until {
                    *served.lock().unwrap().entry(tenant).or_default() += tokens;
                }
                reservation.settle(used(tokens, 0));
            })
        })
        .collect();
    tokio::time::sleep_until(until).await;
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    let served = served.lock().unwrap();
    let total: u64 = served.values().sum();
    assert!(total >= 5_950, "the limit is used up: {total}");
    for (tenant, weight) in [("heavy", 1), ("light", 1), ("pro", 3)] {
        let (share, fair) = (served[tenant] * 5, total * weight);
        assert!(share.abs_diff(fair) * 20 <= fair, "{tenant} got {} of {total}", served[tenant]);
    }
}

#[tokio::test(start_paused = true)]
async fn fair_queue_delays_no_other_tenant() {
    let limiter = shared("600/minute burst 1", long());
    let calls = if crate::full() { 10_000 } else { 2_000 };
    let heavy: Vec<_> = (0..calls)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move { limiter.reserve(&ask("heavy")).await.map(|r| r.settle(used(0, 0))) })
        })
        .collect();
    sleep(Duration::from_secs(5)).await;
    assert!(limiter.stats().waiting > calls - 100);
    let began = Instant::now();
    limiter.reserve(&ask("light")).await.unwrap().settle(used(0, 0));
    assert!(began.elapsed() <= Duration::from_millis(202), "{:?}", began.elapsed());
    heavy.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn priority_interactive_first_background_goes_on() {
    let limiter = shared("600/minute burst 1", long());
    let order = Arc::new(Mutex::new(Vec::new()));
    limiter.try_reserve(&ask("a")).unwrap().settle(used(0, 0));
    let callers: Vec<_> = (0..200)
        .map(|n| {
            let (limiter, order) = (limiter.clone(), Arc::clone(&order));
            let priority = if n < 100 { Priority::Background } else { Priority::Interactive };
            tokio::spawn(async move {
                limiter.reserve(&ask("a").priority(priority)).await.unwrap().settle(used(0, 0));
                order.lock().unwrap().push(priority);
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let order = order.lock().unwrap();
    let background = order[..100].iter().filter(|priority| **priority == Priority::Background).count();
    assert!((5..=8).contains(&background), "{background} of the first hundred");
}

#[tokio::test(start_paused = true)]
async fn queue_full_of_one_tenant_admits_others() {
    let waits = || Waiting::at_most(10 * HOUR);
    for waiting in [waits().max_calls(100), waits().max_tokens(1_000)] {
        let limiter = shared("600/minute burst 1", waiting);
        let heavy: Vec<_> = (0..150)
            .map(|_| {
                let limiter = limiter.clone();
                let call =
                    async move { limiter.reserve(&ask("heavy").tokens(10, 0)).await.map(|r| r.settle(used(0, 0))) };
                tokio::spawn(async move {
                    call.await.map_err(|refusal| (refusal.reason(), refusal.retry_after().is_some()))
                })
            })
            .collect();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(limiter.stats().waiting, 100);
        let began = Instant::now();
        limiter.reserve(&ask("light").tokens(30, 0)).await.unwrap().settle(used(0, 0));
        assert!(began.elapsed() <= Duration::from_millis(202), "{:?}", began.elapsed());
        let mut refused = Vec::new();
        for call in heavy {
            refused.extend(call.await.unwrap().err());
        }
        // One call was admitted at once and a hundred waited. Three of those were removed to make room for thirty
        // tokens.
        let pushed_out = if waiting == waits().max_calls(100) { 1 } else { 3 };
        assert_eq!(refused, vec![(Reason::QueueFull, true); 49 + pushed_out]);
        assert_eq!((limiter.stats().waiting, limiter.close().await), (0, Ok(0)));
    }
}
