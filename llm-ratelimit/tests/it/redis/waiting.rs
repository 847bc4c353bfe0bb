//! Tests of calls that wait for room which another process returns.

use std::time::Duration;

use llm_ratelimit::{Reason, Waiting};
use llm_testkit::redis::RedisServer;

use super::{TIMEOUT, ask, open, open_with, until, used};

fn waiting(builder: llm_ratelimit::LimiterBuilder) -> llm_ratelimit::LimiterBuilder {
    builder.waiting(Waiting::at_most(TIMEOUT))
}

#[tokio::test]
async fn redis_waiting_call_is_told_of_room() {
    let server = RedisServer::spawn();
    let limits = ["1 concurrent"];
    let (holder, waiter) = (open(&server, &limits).await, open_with(&server, &limits, waiting).await);
    let held = holder.reserve(&ask("a")).await.unwrap();
    let demand = ask("a");
    let mut call = Box::pin(waiter.reserve(&demand));
    let channels = || server.command(&["PUBSUB", "CHANNELS"]).expect("it answers");
    let release = async {
        until(|| async { channels().contains("limit-room") && waiter.stats().waiting == 1 }).await;
        held.settle(used(1));
    };
    let (reservation, ()) = tokio::join!(&mut call, release);
    reservation.unwrap().settle(used(1));
    until(|| async { !channels().contains("limit-room") }).await;
}

#[tokio::test]
async fn redis_waiting_within_process_is_in_order() {
    let server = RedisServer::spawn();
    let limiter = open_with(&server, &["1 concurrent"], waiting).await;
    let held = limiter.reserve(&ask("a")).await.unwrap();
    let order = std::sync::Mutex::new(Vec::new());
    let calls = (0..8).map(|n| {
        let (limiter, order) = (&limiter, &order);
        async move {
            let reservation = limiter.reserve(&ask("a")).await.unwrap();
            order.lock().unwrap().push(n);
            reservation.settle(used(1));
        }
    });
    let release = async {
        until(|| async { limiter.stats().waiting == 8 }).await;
        held.settle(used(1));
    };
    tokio::join!(futures_util::future::join_all(calls), release);
    assert_eq!(*order.lock().unwrap(), (0..8).collect::<Vec<_>>());
}

#[tokio::test]
async fn redis_waiting_call_is_refused_in_time() {
    let server = RedisServer::spawn();
    let limits = ["1 concurrent"];
    let holder = open(&server, &limits).await;
    let short = |builder: llm_ratelimit::LimiterBuilder| builder.waiting(Waiting::at_most(Duration::from_millis(50)));
    let waiter = open_with(&server, &limits, short).await;
    let _held = holder.reserve(&ask("a")).await.unwrap();
    assert_eq!(waiter.reserve(&ask("a")).await.unwrap_err().reason(), Reason::TooLate);
    assert_eq!(waiter.stats().waiting, 0);
}
