//! Tests of a server that loses its accounts. The processes report what they know.

use std::{cell::Cell, time::Duration};

use futures_util::future::join_all;
use llm_ratelimit::{Reason, Settlement};
use llm_testkit::redis::RedisServer;

use super::{accounts, ask, build, level, open, settled, until, used};

#[tokio::test]
async fn loss_of_accounts_keeps_seen_levels() {
    let server = RedisServer::spawn();
    let limits = ["100 tokens/month", "2 concurrent"];
    let (one, other) = (open(&server, &limits).await, open(&server, &limits).await);
    one.reserve(&ask("a").tokens(60, 0)).await.unwrap().settle(used(60));
    settled(&one).await;
    let held = other.reserve(&ask("a").tokens(10, 0)).await.unwrap();
    assert_eq!(server.command(&["FLUSHALL"]).as_deref(), Ok("OK"));
    // This limiter has seen 60 used tokens, and the other one also knows its own reservation.
    assert_eq!(one.reserve(&ask("a").tokens(40, 0)).await.map(|call| call.settle(used(40))), Ok(()));
    settled(&one).await;
    let refusal = other.reserve(&ask("a").tokens(40, 0)).await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::UsedUp);
    let slots = one.usage("a").await.iter().nth(1).expect("it has slots").reserved;
    assert_eq!((level(&one, "a").await, slots), ((100, 0), 1), "the greatest level, and the slot that is held");
    held.settle(used(1));
    settled(&other).await;
    let slots = one.usage("a").await.iter().nth(1).expect("it has slots").reserved;
    assert_eq!(slots, 0);
}

/// Reads of levels, and decisions of other processes, do not prevent the next decision from noticing the loss.
#[tokio::test]
async fn loss_is_noticed_after_levels_are_read() {
    let server = RedisServer::spawn();
    let limits = ["100 tokens/month"];
    for (tenant, others_decide) in [("alone", false), ("shared", true)] {
        let (one, other) = (open(&server, &limits).await, open(&server, &limits).await);
        one.reserve(&ask(tenant).tokens(60, 0)).await.unwrap().settle(used(60));
        settled(&one).await;
        assert_eq!(server.command(&["FLUSHALL"]).as_deref(), Ok("OK"));
        if others_decide {
            other.reserve(&ask(tenant).tokens(1, 0)).await.unwrap().settle(used(1));
            settled(&other).await;
        }
        level(&one, tenant).await;
        let refusal = one.reserve(&ask(tenant).tokens(50, 0)).await.expect_err("60 are used");
        assert_eq!((refusal.reason(), level(&other, tenant).await), (Reason::UsedUp, (60, 0)), "{tenant}");
    }
}

#[tokio::test]
async fn loss_is_reported_again_after_failure() {
    let server = RedisServer::builder().line("user shop on >right ~* &* +@all").spawn();
    let url = format!("redis://shop:right@127.0.0.1:{}", server.port());
    let limiter = build(accounts(&url), &["100 tokens/month"], |builder| builder).await;
    limiter.reserve(&ask("a").tokens(60, 0)).await.unwrap().settle(used(60));
    settled(&limiter).await;
    for command in [&["FLUSHALL"][..], &["ACL", "SETUSER", "shop", "-hset"]] {
        assert_eq!(server.command(command).as_deref(), Ok("OK"));
    }
    let refusal = limiter.reserve(&ask("a").tokens(50, 0)).await.expect_err("nothing can be written");
    assert_eq!(refusal.reason(), Reason::Unavailable);
    assert_eq!(server.command(&["ACL", "SETUSER", "shop", "+hset"]).as_deref(), Ok("OK"));
    let refusal = limiter.reserve(&ask("a").tokens(50, 0)).await.expect_err("60 are used");
    assert_eq!((refusal.reason(), level(&limiter, "a").await), (Reason::UsedUp, (60, 0)));
}

#[tokio::test]
async fn loss_under_load_passes_few_twice() {
    const BUDGET: u64 = 400;
    let server = RedisServer::spawn();
    for is_chunked in [false, true] {
        let limits = ["400 requests/month"];
        let open = || build(accounts(&server.url()).chunked(move |_, _| is_chunked), &limits, |builder| builder);
        let limiters = join_all((0..4).map(|_| open())).await;
        let granted = Cell::new(0);
        let calls = limiters.iter().map(|limiter| async {
            for _ in 0..300 {
                if let Ok(reservation) = limiter.reserve(&ask("a")).await {
                    reservation.settle(Settlement::Unknown);
                    granted.set(granted.get() + 1);
                }
            }
        });
        let lose = async {
            until(|| async { granted.get() >= BUDGET / 2 }).await;
            server.command(&["FLUSHALL"]).expect("it answers");
        };
        tokio::join!(join_all(calls), lose);
        let twice = granted.get().saturating_sub(BUDGET);
        println!("chunks {is_chunked}: {} of {BUDGET} granted, {twice} of them twice", granted.get());
        // The difference is at most what other processes were granted between a process's last decision and its next.
        let bound = if is_chunked { BUDGET / 2 } else { 40 };
        assert!(twice <= bound, "{twice} were granted twice");
        join_all(limiters.iter().map(llm_ratelimit::Limiter::close)).await;
        server.command(&["FLUSHALL"]).expect("it answers");
    }
}

#[tokio::test]
async fn loss_of_accounts_keeps_slots_without_windows() {
    let server = RedisServer::spawn();
    let limits = ["3 concurrent", "100/minute"];
    let (one, other) = (open(&server, &limits).await, open(&server, &limits).await);
    let held = join_all([&one, &one, &other].map(|limiter| async { limiter.reserve(&ask("a")).await.unwrap() })).await;
    assert_eq!(server.command(&["FLUSHALL"]).as_deref(), Ok("OK"));
    for limiter in [&one, &other] {
        // Each process reports the amounts that it holds before its next decision is made.
        drop(limiter.reserve(&ask("a")).await);
    }
    settled(&one).await;
    settled(&other).await;
    assert_eq!(level(&one, "a").await, (0, 3));
    drop(held);
    settled(&one).await;
    settled(&other).await;
    assert_eq!(level(&one, "a").await, (0, 0));
}

#[tokio::test]
async fn loss_is_reported_by_process_without_calls() {
    let server = RedisServer::spawn();
    for limits in [&["2 concurrent"][..], &["2 concurrent", "100 tokens/month"]] {
        let holder = build(accounts(&server.url()).lease(Duration::from_millis(60)), limits, |builder| builder).await;
        let held = holder.reserve(&ask("a").tokens(5, 0)).await.unwrap();
        let other = open(&server, limits).await;
        assert_eq!(server.command(&["FLUSHALL"]).as_deref(), Ok("OK"));
        // This process renews its reservations, but makes no call.
        until(|| async { level(&other, "a").await == (0, 1) }).await;
        held.settle(used(1));
        settled(&holder).await;
        assert_eq!(level(&other, "a").await, (0, 0));
    }
}

#[tokio::test]
async fn loss_leases_slots_in_use_again() {
    let (server, limits) = (RedisServer::spawn(), ["10 concurrent"]);
    let accounts = accounts(&server.url()).chunked(|_, _| true).lease(Duration::from_millis(60));
    let holder = build(accounts, &limits, |builder| builder).await;
    let held = join_all((0..8).map(|_| async { holder.reserve(&ask("a")).await.expect("there is room") })).await;
    let other = open(&server, &limits).await;
    assert_eq!(server.command(&["FLUSHALL"]).as_deref(), Ok("OK"));
    // The next report of the chunk contains the amounts in use.
    until(|| async { level(&other, "a").await.1 > 0 }).await;
    let mut more = Vec::new();
    while let Ok(reservation) = other.reserve(&ask("a")).await {
        more.push(reservation);
    }
    assert!(more.len() <= 2, "{} and the 8 that are held are more than 10", more.len());
    drop(held);
}

#[tokio::test]
async fn loss_leases_slots_in_use_beyond_limit() {
    let (server, limits) = (RedisServer::spawn(), ["10 concurrent"]);
    let accounts = accounts(&server.url()).chunked(|_, _| true).lease(Duration::from_millis(600));
    let holder = build(accounts, &limits, |builder| builder).await;
    let held = join_all((0..8).map(|_| async { holder.reserve(&ask("a")).await.expect("there is room") })).await;
    let other = open(&server, &limits).await;
    assert_eq!(server.command(&["FLUSHALL"]).as_deref(), Ok("OK"));
    let mut more = Vec::new();
    while let Ok(reservation) = other.reserve(&ask("a")).await {
        more.push(reservation);
    }
    println!("{} beside the 8 that are held", more.len());
    until(|| async { level(&other, "a").await.1 == 8 + more.len() as u64 }).await;
    assert!(other.reserve(&ask("a")).await.is_err(), "more run than the limit allows");
    drop(held);
    until(|| async { level(&other, "a").await.1 == more.len() as u64 }).await;
}
