//! Tests of limits and budgets that all limiters share.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use llm_core::Usd;
use llm_ratelimit::{BuildError, Event, Limiter, Plans, Reason, RedisError, Settlement};
use llm_testkit::redis::RedisServer;

use super::{accounts, ask, build, level, open, open_with, settled, until, used};

#[tokio::test]
async fn redis_requests_of_all_limiters_share_limit() {
    let server = RedisServer::spawn();
    let limiters = join_all((0..4).map(|_| open(&server, &["60/minute"]))).await;
    let calls =
        (0..300).map(|n| {
            let limiter: &Limiter = &limiters[n % 4];
            async move {
                limiter.reserve(&ask("a")).await.map(|reservation| reservation.settle(Settlement::Unknown)).is_ok()
            }
        });
    let granted = join_all(calls).await.into_iter().filter(|granted| *granted).count();
    // On a busy machine, the bucket may drain by one or two during the test.
    assert!((60..63).contains(&granted), "{granted} of 300");
}

#[tokio::test]
async fn redis_settlement_is_seen_by_all() {
    let server = RedisServer::spawn();
    let (one, other) = tokio::join!(open(&server, &["1000 tokens/month"]), open(&server, &["1000 tokens/month"]));
    let reservation = one.reserve(&ask("a").tokens(800, 0)).await.unwrap();
    assert_eq!(level(&other, "a").await, (0, 800));
    assert_eq!(other.reserve(&ask("a").tokens(300, 0)).await.unwrap_err().reason(), Reason::UsedUp);
    reservation.settle(used(100));
    settled(&one).await;
    assert_eq!(level(&other, "a").await, (100, 0));
    drop(other.reserve(&ask("a").tokens(900, 0)).await.unwrap());
    settled(&other).await;
    assert_eq!(level(&one, "a").await, (100, 0), "what was not sent costs nothing");
    other.forget("a").await;
    assert_eq!(level(&one, "a").await, (0, 0));
}

#[tokio::test]
async fn redis_excess_is_debt_with_alerts() {
    let (server, events) = (RedisServer::spawn(), Arc::new(Mutex::new(Vec::new())));
    let open = |events: Arc<Mutex<Vec<u8>>>| {
        let sink = move |event: &Event| events.lock().unwrap().push(event.percent);
        open_with(&server, &["$1/day"], move |builder| builder.sink(sink))
    };
    let (one, other) = (open(Arc::clone(&events)).await, open(Arc::clone(&events)).await);
    let cost = |nanos| ask("a").cost(Usd::from_nanos(nanos));
    let spend = |nanos| Settlement::Used { usage: llm_core::Usage::default(), cost: Some(Usd::from_nanos(nanos)) };
    one.reserve(&cost(600_000_000)).await.unwrap().settle(spend(600_000_000));
    settled(&one).await;
    other.reserve(&cost(100_000_000)).await.unwrap().settle(spend(1_600_000_000));
    settled(&other).await;
    until(|| async { events.lock().unwrap().len() == 3 }).await;
    assert_eq!(*events.lock().unwrap(), [50, 80, 100]);
    let status = one.usage("a").await.iter().next().unwrap();
    assert_eq!((status.used, status.debt), (2_200_000_000, 1_200_000_000));
}

#[tokio::test]
async fn redis_lease_is_renewed_while_call_runs() {
    let server = RedisServer::spawn();
    let accounts = accounts(&server.url()).lease(Duration::from_millis(300));
    let limiter = build(accounts, &["1 concurrent"], |builder| builder).await;
    let held = limiter.reserve(&ask("a")).await.unwrap();
    let ends = server.command(&["KEYS", "*limit-ends"]).unwrap();
    let end = || server.command(&["ZRANGE", &ends, "0", "-1", "WITHSCORES"]).unwrap();
    let first = end();
    until(|| async { end() != first }).await;
    held.settle(used(1));
}

#[tokio::test]
async fn redis_slots_of_lost_process_come_back() {
    let (server, limits) = (RedisServer::spawn(), ["100 tokens/month", "1 concurrent"]);
    let lost = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = server.url();
    let reserve = async move {
        let accounts = accounts(&url).lease(Duration::from_millis(60));
        let limiter = build(accounts, &limits, |builder| builder).await;
        // A process that has ended settles nothing.
        std::mem::forget(limiter.reserve(&ask("a").tokens(70, 0)).await.expect("there is room"));
    };
    lost.spawn(reserve).await.unwrap();
    lost.shutdown_background();
    let other = open(&server, &limits).await;
    until(|| async { other.reserve(&ask("a")).await.is_ok() }).await;
    settled(&other).await;
    assert_eq!(level(&other, "a").await, (0, 70), "tokens that nobody settles are spent");
}

#[tokio::test]
async fn redis_try_reserve_is_refused_as_remote() {
    let server = RedisServer::spawn();
    let limiter = open(&server, &["10/minute"]).await;
    let refusal = limiter.try_reserve(&ask("a")).unwrap_err();
    assert_eq!(refusal.reason(), Reason::Remote);
    assert!(refusal.to_string().contains("use reserve"), "{refusal}");
}

#[tokio::test]
async fn redis_close_waits_until_settlements_arrived() {
    let server = RedisServer::spawn();
    let (one, other) = tokio::join!(open(&server, &["100 tokens/month"]), open(&server, &["100 tokens/month"]));
    for _ in 0..50 {
        one.reserve(&ask("a").tokens(2, 0)).await.unwrap().settle(used(1));
    }
    assert_eq!(one.close().await, Ok(0));
    assert_eq!(level(&other, "a").await, (50, 0));
}

#[tokio::test]
async fn redis_server_that_evicts_is_refused() {
    let server = RedisServer::builder().max_memory(64 << 20, "allkeys-lfu").spawn();
    let refused = accounts(&server.url()).open().await.unwrap_err();
    assert_eq!(refused, RedisError::Evicts("allkeys-lfu".into()));
    assert!(refused.to_string().contains("noeviction"));
    accounts(&server.url()).allow_eviction().open().await.unwrap();
}

#[tokio::test]
async fn redis_limit_beyond_exact_numbers_is_refused() {
    const GREATEST: u64 = (1 << 53) - 1;
    let server = RedisServer::spawn();
    let running = open(&server, &["1 tokens/month"]).await;
    for (most, beyond) in [
        ("9007199254740991 tokens/month", "9007199254740992 tokens/month"),
        ("9007199254740991/minute", "9007199254740992/minute"),
        ("1/minute burst 9007199254740991", "1/minute burst 9007199254740992"),
        ("9007199254740991 concurrent", "9007199254740992 concurrent"),
        ("$9007199.254740991/day", "$9007199.254740992/day"),
    ] {
        open(&server, &[most]).await;
        let plans = Plans::uniform([beyond]).expect("it is a limit");
        let builder = || Limiter::builder(plans.clone()).prices(llm_core::price::PriceTable::default());
        builder().build().expect("memory counts it exactly");
        let accounts = accounts(&server.url()).open().await.expect("the server is there");
        let refused = builder().redis(accounts).build().unwrap_err();
        assert!(matches!(&refused, BuildError::TooLarge { greatest: GREATEST, .. }), "{beyond}: {refused:?}");
        assert!(matches!(running.replace(&plans), Err(BuildError::TooLarge { .. } | BuildError::NoPrices { .. })));
    }
}

#[tokio::test]
async fn decision_timeout_and_lease_may_be_endless() {
    let server = RedisServer::spawn();
    let accounts = accounts(&server.url()).decision_timeout(Duration::MAX).lease(Duration::MAX);
    let limiter = build(accounts, &["1 concurrent"], |builder| builder).await;
    assert!(limiter.reserve(&ask("a")).await.is_ok());
}
