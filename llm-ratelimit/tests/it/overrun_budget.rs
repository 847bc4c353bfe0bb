//! Tests that no budget admits a call too many, whatever happens to the calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use llm_core::Usage;
use llm_ratelimit::{Limiter, Settlement, Waiting};
use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};
use tokio::time::sleep;

use crate::support::{AtOnce, Paused, ask, cost, limits, nanos, noon, unpriced};

const PRICE: i64 = 1_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn budget_admits_exactly_a_thousand_calls() {
    let limiter = limits(["$1/day", "9k/day", "1m tokens/day"]).prices(unpriced()).clock(noon()).build().unwrap();
    ask_ten_thousand_times(&limiter).await;
    let usage = limiter.usage("acme").at_once();
    let budget = usage.iter().next().unwrap();
    assert_eq!((budget.used, budget.reserved, budget.debt, budget.remaining), (1_000_000_000, 0, 0, 0));
    assert_eq!(usage.iter().nth(1).unwrap().used, 1_000, "what was refused took nothing of the rest");
}

/// This limit takes the fast path with a single lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn token_limit_admits_exactly_a_thousand_calls() {
    let limiter = limits(["20k tokens/day", "9k/day"]).clock(noon()).build().unwrap();
    ask_ten_thousand_times(&limiter).await;
    let used: Vec<u64> = limiter.usage("acme").at_once().iter().map(|status| status.used + status.reserved).collect();
    assert_eq!(used, [20_000, 1_000]);
}

async fn ask_ten_thousand_times(limiter: &Limiter) {
    let granted = Arc::new(AtomicU64::new(0));
    let calls: Vec<_> = (0..10_000)
        .map(|_| {
            let (limiter, granted) = (limiter.clone(), Arc::clone(&granted));
            tokio::spawn(async move {
                let demand = ask("acme").tokens(10, 10).cost(nanos(PRICE));
                let Ok(reservation) = limiter.reserve(&demand).await else { return };
                granted.fetch_add(1, SeqCst);
                tokio::task::yield_now().await;
                reservation.settle(Settlement::Used { usage: Usage::new(10, 10), cost: Some(nanos(PRICE)) });
            })
        })
        .collect();
    for call in calls {
        call.await.expect("it does not panic");
    }
    assert_eq!(granted.load(SeqCst), 1_000);
    assert_eq!((limiter.stats().granted, limiter.stats().refused), (1_000, 9_000));
}

#[tokio::test(start_paused = true)]
async fn cancelled_calls_return_slots_and_count_money() {
    // The budget is for a tenth of the calls.
    let calls: u32 = if crate::full() { 10_000 } else { 1_500 };
    let most = u64::from(calls) * 100_000;
    let limiter =
        limits([format!("${}.{:09}/day", most / 1_000_000_000, most % 1_000_000_000).as_str(), "50 concurrent"])
            .clock(Paused::new())
            .prices(unpriced())
            .waiting(Waiting::at_most(Duration::from_secs(600)).max_calls(20_000))
            .build()
            .unwrap();
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let billed = Arc::new(AtomicU64::new(0));
    let calls: Vec<_> = (0..calls)
        .map(|_| {
            let (limiter, billed) = (limiter.clone(), Arc::clone(&billed));
            let (before, running) = (u64::from(random.next_u32() % 50), u64::from(random.next_u32() % 400) + 1);
            let real = i64::from(random.next_u32() % 1_000_001);
            let cancelled = (random.next_u32() % 10 < 3).then(|| u64::from(random.next_u32() % 4_000));
            let call = async move {
                let Ok(mut reservation) = limiter.reserve(&ask("acme").cost(nanos(PRICE))).await else { return };
                sleep(Duration::from_millis(before)).await;
                reservation.mark_sent();
                // The vendor bills every call that it received, even if no caller waits for it.
                billed.fetch_add(u64::try_from(real).expect("not negative"), SeqCst);
                sleep(Duration::from_millis(running)).await;
                reservation.settle(cost(real));
            };
            tokio::spawn(async move {
                let patience = Duration::from_millis(cancelled.unwrap_or(10_000_000));
                let _ = tokio::time::timeout(patience, call).await;
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let usage = limiter.usage("acme").at_once();
    let [budget, slots] = &usage.iter().collect::<Vec<_>>()[..] else { panic!("two limits") };
    assert_eq!((slots.remaining, budget.reserved, limiter.stats().waiting), (50, 0, 0));
    let billed = billed.load(SeqCst);
    assert!(billed <= budget.used && budget.used <= most, "{billed} billed, {} counted", budget.used);
    assert!(budget.remaining < 1_000_000, "nobody who fitted was turned away");
    println!("{billed} billed, {} counted: {} unconfirmed", budget.used, budget.used - billed);
    assert_eq!(limiter.close().await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn window_edge_never_exceeds_limit_and_burst() {
    let limiter = limits(["600/minute burst 60", "700/hour"]).clock(Paused::new()).build().unwrap();
    let mut granted = Vec::new();
    for n in 0..42_000u64 {
        if let Ok(reservation) = limiter.try_reserve(&ask("a")) {
            reservation.settle(Settlement::Refused);
            granted.push(n * 5 / 3);
        }
        if n % 3 == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    }
    for (at, from) in granted.iter().enumerate() {
        let within = granted[at..].iter().take_while(|to| **to < from + 60_000).count();
        assert!(within <= 600 + 60, "{within} in the minute from {from} ms");
    }
    assert!(granted.len() >= 700);
}
