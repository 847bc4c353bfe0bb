//! Tests of two processes with different plans, as during a rolling deploy.

use std::cell::Cell;

use llm_ratelimit::{Limiter, Plans, Reason, RedisAccounts};
use llm_testkit::redis::RedisServer;

use super::{accounts, ask, build, level, settled, until, used};

async fn open(server: &RedisServer, limits: &[&str], is_chunked: bool) -> Limiter {
    build(accounts(&server.url()).chunked(move |_, _| is_chunked), limits, |builder| builder).await
}

/// Makes calls of ten tokens until the limiter refuses. Returns the granted amount and the reason for the refusal.
async fn spend(limiter: &Limiter, tenant: &str) -> (u64, Reason) {
    let granted = Cell::new(0);
    loop {
        match limiter.reserve(&ask(tenant).tokens(10, 0)).await {
            Ok(reservation) => reservation.settle(used(10)),
            Err(refusal) => return (granted.get(), refusal.reason()),
        }
        granted.set(granted.get() + 10);
    }
}

#[tokio::test]
async fn plans_with_other_amount_share_usage() {
    let server = RedisServer::spawn();
    let pairs =
        [(["100 tokens/month"], ["300 tokens/month"]), (["100 tokens/day burst 100"], ["300 tokens/day burst 300"])];
    for is_chunked in [false, true] {
        for (low, high) in pairs {
            let tenant = format!("{is_chunked} {}", low[0]);
            let (old, new) = (open(&server, &low, is_chunked).await, open(&server, &high, is_chunked).await);
            let (first, _) = spend(&old, &tenant).await;
            let (second, _) = spend(&new, &tenant).await;
            assert_eq!(spend(&old, &tenant).await.0, 0, "{tenant}");
            assert!((50..=100).contains(&first), "{tenant}: {first}");
            // The amount that the other process has leased comes back with its next report.
            assert!((first + second) <= 300 && (is_chunked || first + second == 300), "{tenant}: {first} and {second}");
            for limiter in [&old, &new] {
                assert_eq!(limiter.close().await, Ok(0));
            }
            let last = open(&server, &high, false).await;
            let counted = level(&last, &tenant).await;
            assert_eq!(counted, (first + second, 0), "{tenant}");
        }
    }
}

#[tokio::test]
async fn plans_with_added_limit_share_others() {
    let server = RedisServer::spawn();
    for is_chunked in [false, true] {
        let tenant = format!("more {is_chunked}");
        let few = ["200 tokens/month"];
        let many = ["200 tokens/month", "2 concurrent", "50 tokens/day", "5/minute burst 5"];
        let (old, new) = (open(&server, &few, is_chunked).await, open(&server, &many, is_chunked).await);
        let running = old.reserve(&ask(&tenant).tokens(10, 0)).await.expect("there is room");
        let (by_new, _) = spend(&new, &tenant).await;
        assert!(by_new <= 50 && (is_chunked || by_new == 50), "{by_new}");
        running.settle(used(10));
        // The new process removes the limits again, and now the old process has them.
        old.replace(&Plans::uniform(many).unwrap()).unwrap();
        new.replace(&Plans::uniform(few).unwrap()).unwrap();
        settled(&old).await;
        let (by_old, _) = spend(&old, &tenant).await;
        assert!(by_new + by_old <= 50, "{by_new} and {by_old} of the day's 50");
        let (rest, _) = spend(&new, &tenant).await;
        assert!(by_new + by_old + rest <= 190, "{by_new}, {by_old} and {rest}");
        for limiter in [&old, &new] {
            assert_eq!(limiter.close().await, Ok(0));
        }
        let last = open(&server, &many, false).await;
        let levels: Vec<_> = last.usage(&tenant).await.iter().map(|status| status.reserved).collect();
        assert_eq!(level(&last, &tenant).await.0, 10 + by_new + by_old + rest);
        assert!(levels.iter().all(|reserved| *reserved == 0), "{levels:?}");
    }
}

#[tokio::test]
async fn plans_are_replaced_while_calls_wait() {
    let server = RedisServer::spawn();
    let waiting =
        |builder: llm_ratelimit::LimiterBuilder| builder.waiting(llm_ratelimit::Waiting::at_most(super::TIMEOUT));
    let limiter = build(accounts(&server.url()), &["1 concurrent"], waiting).await;
    let held = limiter.reserve(&ask("a")).await.expect("there is room");
    let demand = ask("a");
    let raise = async {
        until(|| async { limiter.stats().waiting == 1 }).await;
        limiter.replace(&Plans::uniform(["2 concurrent"]).unwrap()).unwrap();
    };
    let (second, ()) = tokio::join!(limiter.reserve(&demand), raise);
    drop((held, second.expect("there are two now")));
}

#[tokio::test]
async fn plans_without_instances_are_refused() {
    let server = RedisServer::spawn();
    for query in ["", "?instances=0", "?instances=-1", "?instances=two"] {
        let plans = Plans::uniform(["10/minute"]).unwrap();
        let refused = Limiter::builder(plans).open(&format!("{}{query}", server.url())).await.unwrap_err();
        assert!(refused.to_string().contains("?instances="), "{refused}");
    }
    let most = std::num::NonZeroU32::MAX;
    let accounts = RedisAccounts::builder(super::client(&server.url()), most).chunked(|_, _| true);
    let limiter = build(accounts.decision_timeout(super::TIMEOUT), &["10 requests/month"], |builder| builder).await;
    for _ in 0..10 {
        limiter.reserve(&ask("a")).await.expect("a share of nothing is no refusal").settle(used(1));
    }
    assert!(limiter.reserve(&ask("a")).await.is_err());
}
