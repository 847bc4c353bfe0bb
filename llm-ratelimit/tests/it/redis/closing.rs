//! Tests of limiters that are closed while calls wait or are being decided.

use std::{future::Future, task::Poll};

use futures_util::{future::join_all, poll};
use llm_ratelimit::{Reason, Waiting};
use llm_testkit::redis::RedisServer;

use super::{TIMEOUT, accounts, ask, build, level, open, open_with, until, used};

#[tokio::test]
async fn close_refuses_calls_that_wait() {
    let server = RedisServer::spawn();
    for is_chunked in [false, true] {
        let accounts = accounts(&server.url()).chunked(move |_, _| is_chunked);
        let limits = ["1 concurrent", "1000 tokens/month"];
        let limiter = build(accounts, &limits, |builder| builder.waiting(Waiting::at_most(TIMEOUT))).await;
        let (tenant, other) = (format!("{is_chunked}"), open(&server, &limits).await);
        let held = limiter.reserve(&ask(&tenant).tokens(7, 0)).await.expect("there is room");
        let demand = ask(&tenant).tokens(5, 0);
        let calls = join_all((0..10).map(|_| limiter.reserve(&demand)));
        let close = async {
            until(|| async { limiter.stats().waiting == 10 }).await;
            let end = async { held.settle(used(3)) };
            tokio::join!(limiter.close(), end).0
        };
        let (calls, open) = tokio::join!(calls, close);
        assert_eq!(open, Ok(0));
        let reasons: Vec<_> = calls.into_iter().map(|call| call.unwrap_err().reason()).collect();
        assert_eq!(reasons, [Reason::Closed; 10]);
        let status: Vec<_> = other.usage(&tenant).await.iter().map(|status| (status.used, status.reserved)).collect();
        assert_eq!(status, [(0, 0), (3, 0)]);
    }
}

#[tokio::test]
async fn close_waits_for_calls_being_decided() {
    let server = RedisServer::spawn();
    let limiter = open_with(&server, &["1000 tokens/month"], |builder| builder.close_within(3 * TIMEOUT)).await;
    let other = open(&server, &["1000 tokens/month"]).await;
    server.pause();
    let demand = ask("a").tokens(5, 0);
    let mut calls: Vec<_> = (0..10).map(|_| Box::pin(limiter.reserve(&demand))).collect();
    for call in &mut calls {
        assert!(is_pending(call.as_mut()).await);
    }
    let mut close = Box::pin(limiter.close());
    assert!(is_pending(close.as_mut()).await, "the server may grant them");
    server.resume();
    let settle = async { join_all(calls).await.into_iter().flatten().for_each(|call| call.settle(used(2))) };
    let (open, ()) = tokio::join!(close, settle);
    assert_eq!(open, Ok(0));
    let (used, reserved) = level(&other, "a").await;
    assert!((used, reserved) == (20, 0) || used == 0 && reserved == 0, "{used} and {reserved}");
}

async fn is_pending<F: Future + Unpin>(future: F) -> bool {
    matches!(poll!(future), Poll::Pending)
}
