//! Tests of limits that tenants share, which are decided from chunks that each process leases.

use std::{num::NonZeroU32, time::Duration};

use futures_util::future::join_all;
use llm_ratelimit::{Limit, Limiter, Plans, Reason, RedisAccounts, Settlement};
use llm_testkit::redis::RedisServer;

use super::{TIMEOUT, ask, client, settled, until, used};

/// Number of processes that share the server.
const PROCESSES: usize = 4;

/// Opens a limiter with limits that all tenants share.
pub(super) async fn open(url: &str, limits: &[&str]) -> Limiter {
    open_leased(url, limits, TIMEOUT).await
}

async fn open_leased(url: &str, limits: &[&str], lease: Duration) -> Limiter {
    let instances = NonZeroU32::new(4).expect("it is not zero");
    let accounts = RedisAccounts::builder(client(url), instances).decision_timeout(TIMEOUT).lease(lease);
    let limits = limits.iter().map(|limit| limit.parse::<Limit>().expect("it is a limit"));
    let plans = limits.fold(Plans::default(), |plans, limit| plans.limit(limit).expect("it is new"));
    let prices = llm_core::price::PriceTable::default();
    Limiter::builder(plans).prices(prices).redis(accounts.open().await.expect("it is there")).build().expect("right")
}

/// Returns the used and the reserved amount of the first limit.
async fn level(limiter: &Limiter) -> (u64, u64) {
    let status = limiter.usage("a").await.iter().next().expect("it has a limit");
    (status.used, status.reserved)
}

/// Returns the number of scripts that the server has run.
fn scripts(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]).expect("it answers");
    let calls = |name: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.and_then(|rest| rest.split(',').next()).map_or(0, |calls| calls.parse().expect("a number"))
    };
    calls("eval") + calls("evalsha")
}

#[tokio::test]
async fn chunks_serve_ten_decisions_a_round_trip() {
    let server = RedisServer::spawn();
    let limiter = open(&server.url(), &["1000000 tokens/month", "1000000/minute", "100 concurrent"]).await;
    let before = scripts(&server);
    for n in 0..2_000 {
        let reservation = limiter.reserve(&ask(&format!("t{}", n % 7)).tokens(10, 0)).await.unwrap();
        reservation.settle(used(if n % 2 == 0 { 10 } else { 3 }));
    }
    let trips = scripts(&server) - before;
    println!("{trips} scripts for 2000 decisions and their settlements");
    assert!(trips <= 200, "{trips}");
    assert_eq!(limiter.close().await, Ok(0));
    let other = open(&server.url(), &["1000000 tokens/month"]).await;
    assert_eq!(level(&other).await, (13_000, 0), "all that was used is counted, and the rest is back");
}

/// The rest of a limit is less than a chunk of it for each process, and more than a call needs.
#[tokio::test]
async fn chunks_serve_concurrent_calls_to_the_last() {
    const CALLERS: u64 = 32;
    let server = RedisServer::spawn();
    for (limit, tokens) in [("100 requests/month", 0), ("1000 tokens/month", 10), ("100 requests/day burst 100", 0)] {
        let limiter = open(&server.url(), &[limit]).await;
        let calls = (0..CALLERS).map(|_| async {
            let (mut granted, mut refused) = (0, Vec::new());
            for _ in 0..10 {
                match limiter.reserve(&ask("a").tokens(tokens, 0)).await {
                    Ok(reservation) => {
                        reservation.settle(Settlement::Unknown);
                        granted += 1;
                    }
                    Err(refusal) => refused.push(refusal.reason()),
                }
            }
            (granted, refused)
        });
        let (granted, refused): (Vec<u64>, Vec<_>) = join_all(calls).await.into_iter().unzip();
        assert_eq!(granted.iter().sum::<u64>(), 100, "{limit}");
        assert!(refused.concat().iter().all(|reason| *reason == Reason::UsedUp), "{limit}: {refused:?}");
    }
}

#[tokio::test]
async fn chunks_pass_no_more_than_limit() {
    let server = RedisServer::spawn();
    for (limit, most) in [("400 requests/month", 400), ("400 requests/day burst 400", 400)] {
        server.command(&["FLUSHALL"]).unwrap();
        let (url, limits) = (server.url(), [limit]);
        let limiters = join_all((0..PROCESSES).map(|_| open_leased(&url, &limits, Duration::from_secs(2)))).await;
        let calls = limiters.iter().map(|limiter| async move {
            let mut granted = 0;
            for _ in 0..400 {
                if let Ok(reservation) = limiter.reserve(&ask("a")).await {
                    reservation.settle(Settlement::Unknown);
                    granted += 1;
                }
            }
            granted
        });
        let granted: Vec<u64> = join_all(calls).await;
        let early = most - granted.iter().sum::<u64>();
        println!("{limit}: {granted:?}, {early} refused early");
        assert!(granted.iter().sum::<u64>() <= most);
        // A process returns the unused part of its lease, so that the rest can be granted.
        let rest = || async {
            let passes =
                limiters[0].reserve(&ask("a")).await.map(|reservation| reservation.settle(Settlement::Unknown));
            usize::from(passes.is_ok())
        };
        let passed = std::cell::Cell::new(0);
        until(|| async {
            passed.set(passed.get() + u64::try_from(rest().await).unwrap());
            passed.get() == early
        })
        .await;
        assert_eq!(rest().await, 0);
    }
}

#[tokio::test]
async fn chunks_are_returned_on_close() {
    let server = RedisServer::spawn();
    let limits = ["1000 tokens/month", "100 requests/hour burst 100", "10 concurrent"];
    let (one, other) = (open(&server.url(), &limits).await, open(&server.url(), &limits).await);
    let running = one.reserve(&ask("a").tokens(5, 0)).await.unwrap();
    for _ in 0..20 {
        one.reserve(&ask("a").tokens(5, 0)).await.unwrap().settle(used(4));
    }
    assert!(level(&other).await.1 >= 5, "what is leased counts as reserved");
    let close = one.close();
    let end = async {
        until(|| async { one.stats().redis.pending_settlements == 0 }).await;
        running.settle(used(5));
    };
    let (open, ()) = tokio::join!(close, end);
    assert_eq!(open, Ok(0));
    let levels: Vec<_> = other.usage("a").await.iter().map(|status| (status.used, status.reserved)).collect();
    assert_eq!(levels, [(85, 0), (21, 0), (0, 0)]);
}

#[tokio::test]
async fn chunks_of_lost_process_end_with_lease() {
    let (server, limits) = (RedisServer::spawn(), ["1000 tokens/month", "10 concurrent"]);
    let lost = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = server.url();
    let reserve = async move {
        let limiter = open_leased(&url, &limits, Duration::from_millis(90)).await;
        for _ in 0..5 {
            limiter.reserve(&ask("a").tokens(10, 0)).await.unwrap().settle(used(10));
        }
        std::mem::forget((limiter.reserve(&ask("a").tokens(10, 0)).await.unwrap(), limiter));
    };
    lost.spawn(reserve).await.unwrap();
    lost.shutdown_background();
    let other = open(&server.url(), &limits).await;
    let slots = || async {
        drop(other.reserve(&ask("a")).await);
        other.usage("a").await.iter().nth(1).unwrap().reserved
    };
    until(|| async { slots().await <= 5 }).await;
    let (used, reserved) = level(&other).await;
    assert!(used + reserved >= 60, "what the lost process took is not free: {used} and {reserved}");
}

#[tokio::test]
async fn chunks_refusal_is_remembered_until_own_settlement() {
    let server = RedisServer::spawn();
    let limiter = open(&server.url(), &["100 tokens/month"]).await;
    let held = limiter.reserve(&ask("a").tokens(100, 0)).await.unwrap();
    assert_eq!(limiter.reserve(&ask("a").tokens(50, 0)).await.unwrap_err().reason(), Reason::UsedUp);
    let before = scripts(&server);
    let demand = ask("b").tokens(60, 0);
    let refused = (0..50).map(|_| limiter.reserve(&demand));
    assert!(join_all(refused).await.iter().all(Result::is_err));
    let trips = scripts(&server) - before;
    assert!(trips <= 10, "{trips} for 50 refusals");
    held.settle(used(10));
    limiter.reserve(&ask("b").tokens(60, 0)).await.unwrap().settle(used(60));
    settled(&limiter).await;
}

#[tokio::test]
async fn chunks_of_busy_tenant_are_exact() {
    let server = RedisServer::spawn();
    let open = || async {
        let accounts = super::accounts(&server.url()).chunked(|_, tenant| tenant == "busy");
        super::build(accounts, &["5000 tokens/month"], |builder| builder).await
    };
    let (one, other) = (open().await, open().await);
    let before = scripts(&server);
    for _ in 0..300 {
        one.reserve(&ask("busy").tokens(10, 0)).await.unwrap().settle(used(9));
    }
    let trips = scripts(&server) - before;
    assert!(trips <= 30, "{trips} for 300 decisions");
    one.close().await.unwrap();
    assert_eq!(super::level(&other, "busy").await, (2_700, 0));
}

#[tokio::test]
async fn chunks_returned_unused_lower_debt() {
    let (server, limits, lease) = (RedisServer::spawn(), ["100 tokens/month"], Duration::from_millis(600));
    let (one, other) = (open_leased(&server.url(), &limits, lease).await, open(&server.url(), &limits).await);
    for tokens in [1, 1, 1, 1, 2, 2, 4] {
        one.reserve(&ask("a").tokens(tokens, 0)).await.expect("there is room").settle(used(tokens));
    }
    // The first renewal settles these calls, and leases a part of the free amount again.
    until(|| async { level(&other).await.0 == 12 }).await;
    other.reserve(&ask("a").tokens(10, 0)).await.expect("there is room").settle(used(95));
    assert_eq!(other.close().await, Ok(0));
    // The second renewal returns that part.
    until(|| async { level(&other).await == (107, 0) }).await;
    let debt = other.usage("a").await.iter().next().map(|status| status.debt);
    assert_eq!(debt, Some(7), "what was leased and not used is no debt");
}
